"""Labelled tasks: examples in the paper's layouts, its twelve tasks, and how they are scored.

A task of one's own needs ``from gpt1.tasks import text`` (or pair, similarity, choice).
"""

from gpt1.tasks.example import choice, pair, similarity, text

__all__ = ["choice", "pair", "similarity", "text"]
