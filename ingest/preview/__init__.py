"""The engineers' preview: a feed as it comes in, on the air or not, to a few browsers by WHEP (draft-ietf-wish-whep).

Loaded at the first preview only: aiortc and PyAV take a second and some 40 MB, which a machine without previews saves.
"""
