"""Parts of the network computed with less traffic than operation by operation would take.

Each has a plain form, which it equals but for rounding, and uses it where the fast one cannot run.
"""
