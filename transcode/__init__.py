"""transcode turns packets into renditions: the timeline that all of them share, the packager (CMAF parts and
segments) and the ladder, one ffmpeg child per feed.

Late media is not thrown away: what comes after its time was told as a gap is placed behind the gap. Left out is only
what no picture belongs to: sound before a feed's first keyframe, or of the moment before its picture ends a gap.

A gap is a gap in all of a segment: where a feed ends, each rendition's segment ends where its own media does (hls.js
stops at segments that are half media, half gap). Sound stays on the air while only the picture stands still.
"""
