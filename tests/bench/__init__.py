"""Measurements beside nginx-rtmp on this machine's loopback; run with `python -m tests.bench`."""
