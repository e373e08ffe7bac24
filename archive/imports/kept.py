"""What an imported recording has that a broadcast's has not: names that its maker and its readers share."""

IMPORTED = "imported"
"""The reason for which its ledger ends."""
ORIGINAL = "original"
"""The folder, beside its renditions, of the file that it was made of."""
STAGING = ".imports"
"""The folder, beside the recordings, of those that are being made: no name of a recording, so nobody finds it."""
