"""Renditions to viewers: playlists, blocking delivery, and the browser player (RFC 8216bis, LL-HLS).

Viewers are counted where they are answered: the edge tells of requests for playlists by UDP on loopback, the work
process counts hashes of fifteen seconds (`player/audience.py`, `mbashara/viewers.py`), web reads its file. Nothing of
a viewer is kept.
"""
