"""The program: command line, processes and wiring. It imports every
room; no room imports it (design section 1)."""

__version__ = "0.1.0"
DATA_VERSION = 2
"""Layout of the data folder. A folder of another number is refused, not guessed at."""
