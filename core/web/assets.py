"""The built scripts and styles of our pages: their hashed names (manifest.json, by `npm run build`) and their serving.

A hashed name never changes its content, so a viewer downloads each file once (RFC 8246, immutable).
"""

import json
from http import HTTPStatus
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

ASSET_PATH = "/static"
STATIC_DIR = Path(__file__).parent / "static"
IMMUTABLE = "public, max-age=31536000, immutable"
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css"}
CODINGS = (("br", ".br"), ("gzip", ".gz"))  # best first; both written by the build


class AssetsMissing(RuntimeError):
    """Scripts and styles were not built."""


class Assets:
    """Knows the built files of one folder. Read once, at the start of the process."""

    def __init__(self, static_dir: Path = STATIC_DIR) -> None:
        self._dir = static_dir
        self._names = _read_manifest(static_dir / "manifest.json")

    def address(self, name: str) -> str:
        """The path of an asset ("player.js") in a page."""
        return f"{ASSET_PATH}/{self._names[name]}"

    def route(self) -> Route:
        return Route(f"{ASSET_PATH}/{{name}}", self._serve)

    async def _serve(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._names.values():  # the manifest's alone: no path leads out of the folder
            raise HTTPException(HTTPStatus.NOT_FOUND)
        coding, suffix = _best_coding(request.headers.get("accept-encoding", ""))
        headers = {"Cache-Control": IMMUTABLE, "Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
        if coding:
            headers["Content-Encoding"] = coding
        path = self._dir / (name + suffix)
        return FileResponse(path, headers=headers, media_type=MEDIA_TYPES[Path(name).suffix])


def _best_coding(accepted: str) -> tuple[str, str]:
    items = [item.replace(" ", "") for item in accepted.split(",")]
    offered = {item.split(";")[0] for item in items if not item.endswith(";q=0")}
    return next(((coding, suffix) for coding, suffix in CODINGS if coding in offered), ("", ""))


def _read_manifest(path: Path) -> dict[str, str]:
    try:
        names: dict[str, str] = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise AssetsMissing(f"scripts and styles are not built (no {path}): npm ci && npm run build") from error
    return names
