"""Renditions to viewers: playlists, blocking delivery, and the browser player (RFC 8216bis, LL-HLS)."""
