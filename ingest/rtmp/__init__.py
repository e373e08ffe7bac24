"""RTMP(S): encoders publish here (Adobe RTMP 1.0 with AMF0).

From the wire inwards: handshake, chunk, message (amf0), connection (with its events and errors), server,
door. Beside them: address (where encoders put the key), client (a publisher of our own), handoff (between
workers).
"""
