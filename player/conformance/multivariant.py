"""The rules for a multivariant playlist (rfc8216bis 4.4.6, Apple 1, 2, 8 and 9)."""

from collections.abc import Iterator, Mapping, Sequence

from player.conformance.playlist import attribute_list, decimal
from player.conformance.violation import Violation, in_line_order


@in_line_order
def check_multivariant(text: str, for_cellular: bool = False) -> Iterator[Violation]:
    """A multivariant playlist (4.4.6). `for_cellular`: a variant of at most 192 kbit/s, too (Apple 9.21)."""
    if not text.startswith("#EXTM3U\n"):
        yield Violation(1, "4.4.1.1-extm3u", "the first line is not #EXTM3U")
    groups: dict[str, list[dict[str, str]]] = {}
    variants: list[tuple[int, dict[str, str], str]] = []
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        name, _, value = line[1:].partition(":")
        if name in ("EXT-X-TARGETDURATION", "EXTINF", "EXT-X-PART", "EXT-X-MEDIA-SEQUENCE", "EXT-X-ENDLIST"):
            yield Violation(number, "4.1-mixed", f"{name} belongs into a media playlist")
        if name not in ("EXT-X-STREAM-INF", "EXT-X-MEDIA"):
            continue
        attributes = attribute_list(value)
        if attributes is None:
            yield Violation(number, "4.2-attributes", f"{name} has no well-formed attribute list")
        elif name == "EXT-X-MEDIA":
            groups.setdefault(attributes.get("GROUP-ID", ""), []).append(attributes)
            yield from _check_media_tag(number, attributes, groups[attributes.get("GROUP-ID", "")])
        else:
            variants.append((number, attributes, lines[number] if number < len(lines) else ""))
    if not variants:
        yield Violation(0, "4.4.6.2-none", "no variant")
    for number, attributes, uri in variants:
        yield from _check_variant(number, attributes, uri, groups)
    if for_cellular and not any(int(a.get("BANDWIDTH", "0")) <= 192_000 for _, a, _ in variants):
        yield Violation(0, "apple-9.21-cellular", "no variant of at most 192 kbit/s")


def _check_media_tag(number: int, attributes: dict[str, str], group: list[dict[str, str]]) -> Iterator[Violation]:
    if not {"TYPE", "GROUP-ID", "NAME"} <= attributes.keys():
        yield Violation(number, "4.4.6.1-attributes", "MEDIA needs TYPE, GROUP-ID and NAME")
    if sum(other.get("NAME") == attributes.get("NAME") for other in group) > 1:
        yield Violation(number, "4.4.6.1.1-name", "two renditions of one group have the same NAME")
    if attributes.get("DEFAULT") == "YES" and attributes.get("AUTOSELECT") != "YES":
        yield Violation(number, "apple-8.10-autoselect", "DEFAULT=YES without AUTOSELECT=YES")
    if "LANGUAGE" not in attributes:
        yield Violation(number, "apple-2.12-language", "MEDIA without LANGUAGE")
    if attributes.get("TYPE") == "AUDIO" and not attributes.get("URI"):
        yield Violation(number, "apple-9.7-separate", "alternate audio without its own playlist")


def _check_variant(
    number: int, attributes: dict[str, str], uri: str, groups: Mapping[str, list[dict[str, str]]]
) -> Iterator[Violation]:
    codecs = attributes.get("CODECS", "").split(",")
    is_video = any(codec.startswith(("avc", "hvc", "hev", "av01")) for codec in codecs)
    if not uri or uri.startswith("#"):
        yield Violation(number, "4.4.6.2-uri", "STREAM-INF without a URI on the next line")
    elif "//" in uri:
        yield Violation(number, "appendix-b-authority", "a variant on another authority")
    needed = {"BANDWIDTH", "AVERAGE-BANDWIDTH", "CODECS"} | ({"RESOLUTION", "FRAME-RATE"} if is_video else set())
    if missing := sorted(needed - attributes.keys()):
        yield Violation(number, "apple-9-attributes", f"STREAM-INF without {', '.join(missing)}")
    peak, mean = decimal(attributes.get("BANDWIDTH")), decimal(attributes.get("AVERAGE-BANDWIDTH"))
    if peak is not None and mean is not None and peak < mean:
        yield Violation(number, "4.4.6.2-bandwidth", "BANDWIDTH is below AVERAGE-BANDWIDTH")
    for kind in ("AUDIO", "VIDEO", "SUBTITLES"):
        if kind in attributes and attributes[kind] not in groups:
            yield Violation(number, "4.4.6.2-group", f"no MEDIA of group {attributes[kind]}")
    if "AUDIO" in attributes and not any(codec.startswith(("mp4a", "Opus", "ac-3", "ec-3")) for codec in codecs):
        yield Violation(number, "4.4.6.2-codecs", "CODECS names no audio codec although there is an AUDIO group")


@in_line_order
def check_bitrates(bandwidth_bps: int, average_bps: int, segments: Sequence[tuple[int, float]]) -> Iterator[Violation]:
    """(bytes, seconds) of a variant's segments, audio included, against its STREAM-INF (Apple 1.28, 1.29)."""
    peak_bps = max(size * 8 / duration_s for size, duration_s in segments)
    if peak_bps > 1.25 * bandwidth_bps:
        yield Violation(0, "apple-1.28-peak", f"a segment of {peak_bps:.0f} bit/s, BANDWIDTH {bandwidth_bps}")
    mean_bps = sum(size for size, _ in segments) * 8 / sum(duration_s for _, duration_s in segments)
    if mean_bps > 1.1 * average_bps:
        yield Violation(0, "apple-1.29-mean", f"{mean_bps:.0f} bit/s on average, AVERAGE-BANDWIDTH {average_bps}")
