"""The caller's own token: what it may do, and until when."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from mbashara.api.answers import IfNoneMatch, read
from mbashara.api.caller import Anyone
from mbashara.api.problems import documented

router = APIRouter(tags=["token"])


class TokenShown(BaseModel):
    """`institution_id` is null where it is good everywhere."""

    name: str
    institution_id: int | None
    scopes: list[str]
    expires_at: datetime


@router.get("/token", response_model=TokenShown, responses=documented())
def get_token(caller: Anyone, if_none_match: IfNoneMatch = None) -> Response:
    bearer = caller.bearer
    return read(
        caller,
        TokenShown(
            name=bearer.name, institution_id=bearer.institution_id, scopes=sorted(bearer.scopes),
            expires_at=bearer.expires_at,
        ),
    )  # fmt: skip
