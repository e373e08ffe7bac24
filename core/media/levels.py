"""How loud a sound is: the words that who measures it, keeps it and shows it share."""

from dataclasses import dataclass

FLOOR_DBFS = -99.0
"""Digital silence: minus infinity is no JSON."""


@dataclass(frozen=True, slots=True)
class Level:
    """One side's (left, right) over about a second: sample peak and RMS. A sine of full scale has 0 and -3 dBFS."""

    peak_dbfs: float
    rms_dbfs: float
