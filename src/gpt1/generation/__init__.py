"""Continuing prompts: the decoding loop, the choice of tokens and the end of texts."""
