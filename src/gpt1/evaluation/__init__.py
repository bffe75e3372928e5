"""Measuring models: scores of texts, perplexity, token-by-token explanations."""
