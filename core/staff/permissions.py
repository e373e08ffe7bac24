"""Who may do what: one table from roles to acts, asked through `may`."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, SQLColumnExpression, true


class Role(StrEnum):
    """What a person is at an institution, or on the whole platform."""

    ENGINEER = "engineer"
    ARCHIVIST = "archivist"
    EDITOR = "editor"
    RECRUITER = "recruiter"
    ADMIN = "admin"


class Act(StrEnum):
    """What only some may do."""

    BROADCAST_CREATE = "broadcast.create"
    BROADCAST_EDIT = "broadcast.edit"
    BROADCAST_GO_LIVE = "broadcast.go_live"
    BROADCAST_END = "broadcast.end"
    CHANNEL_ADD = "channel.add"
    CHANNEL_EDIT = "channel.edit"
    KEY_ROTATE = "key.rotate"
    HEALTH_READ = "health.read"
    ALARM_ACKNOWLEDGE = "alarm.acknowledge"
    RECORDING_READ = "recording.read"
    RECORDING_EDIT = "recording.edit"
    RECORDING_IMPORT = "recording.import"
    RECORDING_HOLD = "recording.hold"
    RECORDING_EMBARGO = "recording.embargo"
    RECORDING_EXPORT = "recording.export"
    DISPOSAL_ASK = "recording.dispose_request"
    DISPOSAL_APPROVE = "recording.dispose_approve"
    RETENTION_EDIT = "retention.edit"
    PAGE_EDIT = "page.edit"
    VACANCY_EDIT = "vacancy.edit"
    INSTITUTION_ADD = "institution.add"
    INSTITUTION_EDIT = "institution.edit"
    USER_INVITE = "user.invite"
    USER_EDIT = "user.edit"
    AUDIT_READ = "audit.read"
    WEBHOOK_EDIT = "webhook.edit"


ACTS_OF: dict[Role, frozenset[Act]] = {
    Role.ENGINEER: frozenset(
        {
            Act.BROADCAST_CREATE, Act.BROADCAST_EDIT, Act.BROADCAST_GO_LIVE, Act.BROADCAST_END,
            Act.CHANNEL_ADD, Act.CHANNEL_EDIT, Act.KEY_ROTATE, Act.HEALTH_READ,
            Act.ALARM_ACKNOWLEDGE, Act.RECORDING_READ,
        }
    ),
    Role.ARCHIVIST: frozenset(
        {
            Act.RECORDING_EDIT, Act.RECORDING_IMPORT, Act.RECORDING_HOLD, Act.RECORDING_EMBARGO, Act.RECORDING_EXPORT,
            Act.DISPOSAL_ASK, Act.RECORDING_READ,
        }
    ),
    Role.EDITOR: frozenset({Act.BROADCAST_CREATE, Act.BROADCAST_EDIT, Act.PAGE_EDIT, Act.RECORDING_EXPORT}),
    Role.RECRUITER: frozenset({Act.VACANCY_EDIT}),
    Role.ADMIN: frozenset(Act),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Grant:
    """A membership as a fact: a role at one institution, or everywhere where there is none."""

    role: Role
    institution_id: int | None


@dataclass(frozen=True, slots=True)
class Scope:
    """A set of institutions: the named ones, or all (and what belongs to none)."""

    everything: bool
    institution_ids: frozenset[int]

    def covers(self, institution_id: int | None) -> bool:
        return self.everything or institution_id in self.institution_ids

    def where(self, column: SQLColumnExpression[int] | SQLColumnExpression[int | None]) -> ColumnElement[bool]:
        """The same as a condition on a query's institution column."""
        return true() if self.everything else column.in_(self.institution_ids)


def scope(memberships: Iterable[Grant], act: Act | None = None) -> Scope:
    """Where a person may do an act; without one, where the person has any role."""
    places = {grant.institution_id for grant in memberships if act is None or act in ACTS_OF[grant.role]}
    return Scope(None in places, frozenset(place for place in places if place is not None))


def may(memberships: Iterable[Grant], act: Act, institution_id: int | None) -> bool:
    """Whether a person may do an act at an institution; None asks for the whole platform."""
    return scope(memberships, act).covers(institution_id)


def may_manage(memberships: Collection[Grant], others: Iterable[Grant]) -> bool:
    """Whether a person may disable or reset another's account: only one who is admin everywhere the other has a role,
    else an institution's admin could take over the platform's."""
    return all(may(memberships, Act.USER_EDIT, grant.institution_id) for grant in others)
