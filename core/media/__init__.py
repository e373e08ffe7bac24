"""core.media owns the nouns of live media: packets, tracks, containers, parts, segments, windows, streams.

It stands on the standard library alone, does no IO, and knows no protocol: ingest writes packets into a
LiveStream, transcode turns them into parts and segments, player and archive read them.
"""
