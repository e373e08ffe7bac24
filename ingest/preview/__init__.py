"""The engineers' preview: a feed as it comes in, on the air or not, to a few browsers by WHEP (draft-ietf-wish-whep).

Loaded at the first preview only: aiortc and PyAV take a second and some 40 MB, which a machine without previews saves.

A preview costs its viewers' packets (`ingest/preview`): a feed's own pictures go out as they came in, its sound
becomes Opus once, in a process in the cage, and is measured there (`opus.py`, led by `bridge.py`). It taps the feed,
not the broadcast, so a held feed is seen too; while nobody watches there is no tap, no decoding, and aiortc is not
even loaded. `mbashara/previews.py` answers on the media process's own socket, for the web process.
"""
