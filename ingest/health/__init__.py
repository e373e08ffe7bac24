"""Feed health: what packets and sequence headers tell of a feed, judged into issues that an engineer can act on.

A feed's health costs the frame nothing worth naming (`ingest/health`): meters count packets as they pass; once a
second they are measured over ten seconds, judged by pure functions, compared with the other feed, and held so that no
issue flickers.
"""
