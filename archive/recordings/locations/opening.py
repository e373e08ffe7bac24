"""From a location to its store."""

from archive.recordings.locations.config import FolderLocation, Location
from archive.recordings.locations.folder import FolderStore
from archive.recordings.locations.store import Store


def open_store(location: Location) -> Store:
    """Asks nothing of the location yet. The caller closes it."""
    if isinstance(location, FolderLocation):
        return FolderStore(location.name, location.path)
    from archive.recordings.locations.s3 import S3Store  # boto3 takes half a second to import

    return S3Store(location)
