"""Runs hls-parser (npm, strict mode) once over a batch of playlists."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

_SCRIPT = Path(__file__).with_name("strict.cjs")


def rejected(playlists: Sequence[str]) -> list[str]:
    """What hls-parser says against any of them: "index: reason", and the playlist's text in the first case."""
    with tempfile.TemporaryDirectory() as folder:
        for index, text in enumerate(playlists):
            Path(folder, f"{index:06}.m3u8").write_text(text)
        command = ["node", str(_SCRIPT), folder]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    return [f"{name}: {reason}\n{playlists[int(name[:6])]}" for name, reason in json.loads(answer).items()]
