"""What the tokenizer is made of: repair and splitting of text, vocabularies, caches, spacing."""
