"""gpt1 beside its peers, in one table: speed, memory and result, measured taking turns.

Run as ``python -m benchmarks``; see README.md in this folder.
"""
