"""The time-stamp authority of the settings (archive/recordings/timestamp.py)."""

from archive.recordings.timestamp import Authority, read_roots
from mbashara.settings import Settings


def authority(settings: Settings) -> Authority | None:
    """None where none is set. Raises TimestampError where its certificates can't be read."""
    if not settings.timestamp_url:
        return None
    roots = () if settings.timestamp_ca_file is None else read_roots(settings.timestamp_ca_file)
    return Authority(settings.timestamp_url, roots, settings.timestamp_user, settings.timestamp_password)
