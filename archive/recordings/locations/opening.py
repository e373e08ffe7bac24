"""From a location to its store."""

from archive.recordings.locations.config import FolderLocation, Location
from archive.recordings.locations.folder import FolderStore
from archive.recordings.locations.store import Store


def open_store(location: Location, patience_s: float | None = None) -> Store:
    """Asks nothing of the location yet. The caller closes it. `patience_s` is for someone who waits: so long a server
    may take over an answer, and is not asked again; None: as long as copies may take."""
    if isinstance(location, FolderLocation):
        return FolderStore(location.name, location.path)
    from archive.recordings.locations.s3 import S3Store  # boto3 takes half a second to import
    from archive.recordings.locations.s3_client import Limits

    return S3Store(location) if patience_s is None else S3Store(location, Limits(read_timeout_s=patience_s, attempts=1))
