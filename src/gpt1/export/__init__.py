"""Models written for other runtimes: `gpt1.export.formats` says which, one module writes each."""
