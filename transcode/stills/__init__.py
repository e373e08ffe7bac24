"""One picture of a feed: a keyframe becomes a small JPEG in an ffmpeg of its own, apart from everything on the air.

Pictures are made beside the air (`mbashara/stills.py`, `transcode/stills`): media keeps a reference to each feed's
newest keyframe and hands it out; a process of the lowest priority decodes it in an ffmpeg of its own, bounded in time
and memory. Sound is measured there too (`mbashara/levels.py`, `transcode/levels`): a feed's last second, every two
seconds while someone looks. While no staff look, both are made once a minute.
"""
