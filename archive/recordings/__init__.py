"""archive.recordings keeps what was on the air: the very segment files that viewers saw, the append-only index of each
rendition, the ledger of facts, and, from those alone, everything the database says about a recording."""
