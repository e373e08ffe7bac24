"""Feed health: what packets and sequence headers tell of a feed, judged into issues that an engineer can act on."""
