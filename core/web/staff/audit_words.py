"""What subjects and values of the audit log are called. The log holds names that never change; a page tells them in
words, and one that has none as it is."""

from core.audit import Facts
from core.web.staff.acts import N_

SUBJECTS = {
    "alarm": N_("alarm"),
    "broadcast": N_("broadcast"),
    "channel": N_("channel"),
    "import": N_("import"),
    "institution": N_("institution"),
    "location": N_("place of copies"),
    "recording": N_("recording"),
    "recordings": N_("all recordings"),
    "signing_key": N_("key that signs"),
    "token": N_("token"),
    "user": N_("person"),
    "webhook": N_("webhook"),
}
FIELDS = {
    "acronym": N_("acronym"),
    "addresses": N_("addresses"),
    "approved": N_("approved by"),
    "as": N_("kind of file"),
    "aside": N_("set aside"),
    "asked": N_("asked for by"),
    "auto_live": N_("goes on the air by itself"),
    "backup_key": N_("backup key"),
    "began": N_("had begun"),
    "brand_colour": N_("colour"),
    "bytes": N_("bytes"),
    "channel_id": N_("channel"),
    "cloned_from": N_("made after"),
    "copies": N_("copies"),
    "description_en": N_("description (English)"),
    "description_sw": N_("description (Swahili)"),
    "detail": N_("in detail"),
    "dry_run": N_("dry run"),
    "emblem": N_("emblem"),
    "en": N_("English"),
    "ended": N_("rule taken away"),
    "even_so": N_("although few copies are left"),
    "events": N_("events"),
    "expires_at": N_("good until"),
    "export": N_("export"),
    "failed": N_("left as it is"),
    "files": N_("files"),
    "format": N_("kind of file"),
    "from": N_("from"),
    "from_ms": N_("from (milliseconds)"),
    "head": N_("head of the ledger"),
    "hold": N_("legal hold"),
    "host": N_("server"),
    "id": N_("number"),
    "institution_id": N_("institution"),
    "issuer": N_("sign-on provider"),
    "kind": N_("kind"),
    "left": N_("out of the order's reach"),
    "level": N_("how urgent"),
    "location": N_("place of copies"),
    "locations": N_("places of copies"),
    "lost": N_("files lost"),
    "message": N_("message"),
    "multi_factor": N_("with a second factor"),
    "name": N_("name"),
    "name_en": N_("name (English)"),
    "name_sw": N_("name (Swahili)"),
    "new": N_("new here"),
    "old_until": N_("old secret good until"),
    "papers": N_("papers"),
    "parent_id": N_("under institution"),
    "planned": N_("planned broadcast"),
    "planned_end_at": N_("planned end"),
    "planned_start_at": N_("planned beginning"),
    "primary_key": N_("primary key"),
    "reason": N_("reason"),
    "reconnect_window_s": N_("waits for a lost feed (seconds)"),
    "region": N_("region"),
    "remove": N_("to remove"),
    "removed": N_("files that were removed"),
    "rendition": N_("rendition"),
    "repair": N_("to repair"),
    "repaired": N_("files repaired"),
    "request": N_("request"),
    "revoked": N_("revoked"),
    "role": N_("role"),
    "scopes": N_("rights"),
    "sha256": N_("SHA-256"),
    "shortened": N_("shortened recordings"),
    "since": N_("since"),
    "site_origins": N_("sites"),
    "size": N_("bytes"),
    "size_bytes": N_("bytes"),
    "slug": N_("short name"),
    "state": N_("state"),
    "subject": N_("number at the provider"),
    "sw": N_("Swahili"),
    "takes_short": N_("though it is not whole"),
    "title_en": N_("title (English)"),
    "title_sw": N_("title (Swahili)"),
    "to": N_("to"),
    "to_ms": N_("until (milliseconds)"),
    "until": N_("until"),
    "visibility": N_("who may watch"),
    "why": N_("reason"),
    "years": N_("years"),
}

STATES = {
    "scheduled": N_("it is planned"),
    "rehearsal": N_("it is in rehearsal"),
    "live": N_("it is on the air"),
    "ended": N_("it has ended"),
    "archived": N_("it is archived"),
    "cancelled": N_("it is cancelled"),
    "uploading": N_("it is being uploaded"),
    "waiting": N_("it waits"),
    "running": N_("it is being made"),
    "done": N_("it is done"),
    "failed": N_("it failed"),
    "expired": N_("its files are removed"),
}
KINDS_OF_FILE = {
    "bag": N_("package for another archive (BagIt)"),
    "premis": N_("data for other archives (PREMIS)"),
    "statement.pdf": N_("completeness statement on paper (PDF)"),
    "statement.json": N_("completeness statement as data (JSON)"),
    "mp4": N_("picture and sound (MP4)"),
    "m4a": N_("sound alone (M4A)"),
}
VALUES = {
    "as": KINDS_OF_FILE,
    "format": KINDS_OF_FILE,
    "level": {"info": N_("information"), "warning": N_("warning")},
    "role": {"primary": N_("primary"), "backup": N_("backup")},
    "state": STATES,
    "to": {"-": N_("standard output")},
    "visibility": {"public": N_("everyone"), "unlisted": N_("whoever has the address")},
}
"""Of each field, the values that are names of ours. Any other is somebody's own."""


def act_of(act: str, after: Facts | None) -> str:
    """What was done: older entries call all that a program did to a stream key a rotation."""
    if act != "key.rotate" or not after:
        return act
    return "key.revoke" if after.get("revoked") else "key.limit" if "addresses" in after else act


def parts(subject: str) -> tuple[str, str]:
    """The kind and whom or which it is of; the second is empty where it names all of a kind."""
    kind, _, which = subject.partition(":")
    return kind, which
