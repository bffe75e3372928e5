"""Serving: an engine that generates for many at once, and an HTTP application over it."""
