"""Hub: which broadcasts are in this process, for those who deliver and measure them."""

from dataclasses import dataclass, field

from core.media.window import LiveWindow


@dataclass(slots=True)
class OnAir:
    """A broadcast's windows by rendition name, as delivery needs them. It outlives the broadcast a little,
    so that viewers still get the end of the playlist."""

    channel: str
    broadcast: str
    windows: dict[str, LiveWindow] = field(default_factory=dict)


class Hub:
    """The registry. Written by who runs broadcasts, read by delivery; one loop."""

    def __init__(self) -> None:
        self._on_air: dict[tuple[str, str], OnAir] = {}

    def add(self, on_air: OnAir) -> None:
        self._on_air[on_air.channel, on_air.broadcast] = on_air

    def remove(self, on_air: OnAir) -> None:
        self._on_air.pop((on_air.channel, on_air.broadcast), None)

    def all(self) -> list[OnAir]:
        return list(self._on_air.values())

    def window(self, channel: str, broadcast: str, rendition: str) -> LiveWindow | None:
        on_air = self._on_air.get((channel, broadcast))
        return on_air.windows.get(rendition) if on_air else None
