"""Serves the stylesheets of institutions' colours (core/brand.py). Emblems are files: the edge serves them."""

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core import brand
from core.web.assets import IMMUTABLE


def routes() -> list[BaseRoute]:
    return [Route(f"{brand.FOLDER}/{{name}}.css", _sheet)]


async def _sheet(request: Request) -> Response:
    colours = brand.read_sheet_name(request.path_params["name"])
    if colours is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return Response(brand.sheet(colours), media_type="text/css", headers={"cache-control": IMMUTABLE})
