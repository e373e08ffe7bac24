"""Which media worker owns a channel: the same answer as nginx's `hash
$channel` gives (docker/edge/nginx.conf.j2)."""

from zlib import crc32


def channel_worker(slug: str, workers: int) -> int:
    """The worker's index. nginx (ngx_http_upstream_hash_module, first try,
    equal weights) takes bits 16..30 of the CRC-32."""
    return ((crc32(slug.encode()) >> 16) & 0x7FFF) % workers
