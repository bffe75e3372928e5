"""Published results, walked through again: expected values beside ours, step by step."""
