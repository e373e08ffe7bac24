"""`mbashara location ...`: where copies of recordings are kept, and whether it works."""

import json
import sys
from argparse import ArgumentParser, Namespace
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from archive.recordings import retired
from archive.recordings.locations.check import Checked, check_location
from archive.recordings.locations.config import LOCAL, FolderLocation, Location, read_locations
from archive.recordings.locations.errors import StoreError
from archive.recordings.locations.opening import open_store
from core.plain import N_
from mbashara.cli.common import add_command, by, database, print_list, with_json
from mbashara.data import account, as_owner, check_there
from mbashara.plain import UserError
from mbashara.settings import Settings
from mbashara.words import in_words, say

PATIENCE_S = 20.0
"""For an answer of a server that is checked: whoever asks waits, and a server that hangs is to be told as that."""
SETTLED_S = 30.0
"""So long after locations.toml was written the work process may still want copies at a place that is gone from it."""

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parsers(areas: "_SubParsersAction[ArgumentParser]") -> None:
    location = areas.add_parser("location", help="where copies of recordings are kept").add_subparsers(
        required=True, metavar="COMMAND"
    )
    with_json(add_command(location.add_parser("list", help="list the locations of locations.toml"), location_list))
    check = add_command(
        location.add_parser("check", help="write, read back and delete something at each, as the work process would"),
        location_check,
    )
    check.add_argument("names", metavar="NAME", nargs="*", help="only these (default: all)")
    with_json(check)
    forget = add_command(
        location.add_parser("forget", help="forget the copies at a place that is no longer in locations.toml"),
        location_forget,
    )
    forget.add_argument("name", metavar="NAME")
    forget.add_argument("--reason", required=True, metavar="TEXT", help="why, for the custody logs")
    forget.add_argument("--even-so", action="store_true", help="also where too few whole copies are left")
    gone = add_command(
        location.add_parser("gone", help="put on record that what lay at a forgotten place was destroyed by hand"),
        location_gone,
    )
    gone.add_argument("name", metavar="NAME")
    gone.add_argument("--reason", required=True, metavar="TEXT", help="how that is known, for the custody logs")


def location_gone(settings: Settings, arguments: Namespace) -> int:
    """Nothing is removed by this."""
    name, now = arguments.name, datetime.now(UTC)
    with database(settings) as session:
        count = retired.gone(session, name, arguments.reason, by=by(), now=now)
    print(say("it is on record that {count} copies at {name} are gone", count=count, name=name))
    return 0


def location_list(settings: Settings, arguments: Namespace) -> int:
    check_there(settings)
    found = read_locations(settings.locations, settings.recordings)
    none = say("no location is named in {path}", path=settings.locations)
    return print_list([_told(location) for location in found], arguments.json, none)


def location_check(settings: Settings, arguments: Namespace) -> int:
    """2 where one of them does not work; the others are checked all the same."""
    check_there(settings)
    told, why = list[dict[str, object]](), dict[str, StoreError]()
    with as_owner(account()):  # what root may do proves nothing: the work process is another user
        for location in _chosen(settings, arguments.names):
            try:
                with closing(open_store(location, PATIENCE_S)) as store:
                    told.append({"name": location.name, **_found(check_location(store, location)), "error": None})
            except StoreError as error:
                told.append({"name": location.name, "error": str(error)})
                why[location.name] = error
    if arguments.json:
        print(json.dumps(told, ensure_ascii=False))
    elif not told:
        print(say("no location is named in {path}", path=settings.locations))
    else:
        for one in told:
            _print(one, why.get(str(one["name"])))
    return 2 if any(one["error"] for one in told) else 0


def location_forget(settings: Settings, arguments: Namespace) -> int:
    """What lies there is left as it is."""
    name, now = arguments.name, datetime.now(UTC)
    places = {LOCAL, *(one.name for one in read_locations(settings.locations, settings.recordings))}
    if name in places:
        raise UserError(N_("{name} is in use: take it out of {path} first"), name=name, path=settings.locations)
    try:
        age_s = now.timestamp() - settings.locations.stat().st_ctime  # a file that was moved here may be old
    except FileNotFoundError:
        raise UserError(N_("there is no {path}"), path=settings.locations) from None
    if 0 <= age_s < SETTLED_S:
        raise UserError(
            N_("{path} was changed just now: ask again in {wait_s:.0f} seconds"),
            path=settings.locations, wait_s=SETTLED_S - age_s,
        )  # fmt: skip
    with database(settings) as session:
        found = retired.forget(session, name, places, arguments.reason, even_so=arguments.even_so, by=by(), now=now)
    words = say(
        "{count} copies at {name} are forgotten; what lies there is left as it is", count=found.copies, name=name
    )
    print(words)
    return 0


def _chosen(settings: Settings, names: list[str]) -> list[Location]:
    found = read_locations(settings.locations, settings.recordings)
    for name in names:
        if name not in [location.name for location in found]:
            raise UserError(N_("there is no location {name} in {path}"), name=name, path=settings.locations)
    return [location for location in found if not names or location.name in names]


def _told(location: Location) -> dict[str, object]:
    if isinstance(location, FolderLocation):
        where, lock_days = str(location.path), 0
    else:
        place = "/".join(filter(None, (location.bucket, location.prefix)))
        where, lock_days = f"{location.endpoint_url or location.region} {place}", location.lock_days
    return {
        "name": location.name,
        "kind": location.kind,
        "where": where,
        "tier": location.tier,
        "fixity_days": int(days) if (days := location.fixity_days) == int(days) else days,
        "lock_days": lock_days,
        "title_sw": location.title_sw or None,
        "title_en": location.title_en or None,
    }


def _found(checked: Checked) -> dict[str, object]:
    facilities = checked.facilities
    return {
        "proof": checked.proof,
        "deletes": checked.deletes,
        "object_lock": facilities.object_lock,
        "versioning": facilities.versioning,
        "checksums": facilities.checksums,
        "conditional_puts": facilities.conditional_puts,
        "free_bytes": facilities.free_bytes,
    }


def _print(told: dict[str, object], error: StoreError | None) -> None:
    if error is not None:
        print(f"mbashara: {in_words(error.text)}", file=sys.stderr, flush=True)
        return
    free = told["free_bytes"]
    room = f"{free // 1_000_000_000} GB" if isinstance(free, int) else "?"
    print(say("{name}: works", name=told["name"]))
    print(f"  {say('room')}: {room}")
    print(f"  {say('copies are proven by')}: {say(PROOFS[str(told['proof'])])}")
    for name, words in WORDS.items():
        print(f"  {say(words)}: {say('yes') if told[name] else say('no')}")


PROOFS = {
    "checksum": N_("the store's own checksum"),
    "read back": N_("reading all of them again"),
}
WORDS = {
    "checksums": N_("refuses damaged bodies"),
    "conditional_puts": N_("keeps us from writing over"),
    "versioning": N_("keeps versions"),
    "object_lock": N_("object lock and legal hold"),
    "deletes": N_("lets us delete"),
}
