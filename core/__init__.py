"""The shared vocabulary and the doors to the outside (database, keys,
identifiers, media types). No business flow lives here."""
