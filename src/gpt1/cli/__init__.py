"""The commands of `gpt1`, one module each."""
