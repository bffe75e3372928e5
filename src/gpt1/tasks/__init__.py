"""Labelled tasks: examples in the paper's layouts, its twelve tasks, and how they are scored."""
