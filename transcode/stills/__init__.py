"""One picture of a feed: a keyframe becomes a small JPEG in an ffmpeg of its own, apart from everything on the air."""
