"""The kinds of fields that requests are made of."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Path
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from core.broadcasts.queries import MAX_DESCRIPTION, MAX_TITLE

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
LINE = r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"
"""One line that is not blank."""
LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
SLUG = r"^[a-z0-9-]{1,40}$"
MAX_INTEGER = (1 << 31) - 1


class Sent(BaseModel):
    """A request's body: what it does not name is refused, so nothing can be set that is not offered here."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _without_defaults(schema: dict[str, Any]) -> None:
    for one in schema.get("properties", {}).values():
        one.pop("default", None)


class Changes(Sent):
    """A PATCH's body: only what is sent is changed, so its defaults mean nothing and are not told."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    def sent(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)


def _rfc3339(value: object) -> object:
    if isinstance(value, datetime) or (isinstance(value, str) and RFC3339.fullmatch(value)):
        return value
    raise PydanticCustomError("when", "no time with a zone")


When = Annotated[
    AwareDatetime,
    BeforeValidator(_rfc3339),
    Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(2100, 1, 1, tzinfo=UTC)),
]
Slug = Annotated[str, Field(pattern=SLUG)]
Name = Annotated[str, Field(max_length=200, pattern=LINE)]
Title = Annotated[str, Field(max_length=MAX_TITLE, pattern=LINE)]
Description = Annotated[str, Field(max_length=MAX_DESCRIPTION, pattern=LINES)]
Flag = Annotated[bool, Field(strict=True)]
Seconds = Annotated[float, Field(strict=True, ge=0, le=86_400, allow_inf_nan=False)]
RowId = Annotated[int, Field(strict=True, ge=1, le=MAX_INTEGER)]
ChannelPath = Annotated[str, Path(pattern=SLUG, description="The channel's slug.")]
UlidPath = Annotated[str, Path(pattern=r"^[0-7][0-9a-hjkmnp-tv-z]{25}$", description="Its id.")]
RowPath = Annotated[int, Path(ge=1, le=MAX_INTEGER, description="Its id.")]
