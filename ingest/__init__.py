"""Feeds come in: every protocol an encoder may speak, each ending in messages or packets for a channel."""
