"""transcode turns packets into renditions: the timeline that all of them share, the packager (CMAF parts and
segments) and the ladder, one ffmpeg child per feed."""
