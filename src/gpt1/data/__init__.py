"""From files of text to batches: sources, packing, token shards."""
