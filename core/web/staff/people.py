"""Screens of people: who has which role where; inviting, taking roles away, disabling."""

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus

from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from core import institutions
from core.database import transaction
from core.staff import accounts, enrolment, sessions
from core.staff.accounts import Invitation
from core.staff.links import Purpose
from core.staff.permissions import Act, Grant, Role, may_manage, scope
from core.staff.tables import UserAccount
from core.tables import Institution
from core.web.forms import Form, sent
from core.web.site import Page, Site, View
from core.web.staff import Office
from core.web.staff.entrance import send_link

FIELDS = ("email", "name", "role", "institution_id")
WHOLE = "all"
"""The choice that gives a role on the whole platform."""


def routes(site: Site, office: Office) -> list[BaseRoute]:
    post = ("POST",)
    return [
        *site.staff_pages("/staff/people", partial(_list, office)),
        *site.staff_pages("/staff/people/invite", partial(_invite, office), ("GET", "POST")),
        *site.staff_pages("/staff/people/{id:int}", partial(_person, office)),
        *site.staff_pages("/staff/people/{id:int}/withdraw", partial(_withdraw, office), post),
        *site.staff_pages("/staff/people/{id:int}/{change:str}", partial(_change, office), post),
    ]


def _list(office: Office, view: View) -> Page:
    """Those with a role where the asker may invite; of their roles only those there."""
    if not view.may_anywhere(Act.USER_INVITE):
        raise HTTPException(HTTPStatus.FORBIDDEN)
    place = scope(view.staff.memberships, Act.USER_INVITE)
    with transaction(office.engine) as session:
        names = _names(session)
        people = [
            (
                account,
                [grant for grant in sessions.memberships_of(session, account.id) if place.covers(grant.institution_id)],
            )
            for account in accounts.list_staff(session, place)
        ]
    return Page(
        "core/staff/people.html", {"people": people, "names": names, "told": view.request.query_params.get("told")}
    )


def _invite(office: Office, view: View) -> Page | Response:
    if not view.may_anywhere(Act.USER_INVITE):
        raise HTTPException(HTTPStatus.FORBIDDEN)
    if view.form is None:
        return _invitation_page(office, view, Form({"role": Role.ENGINEER}))
    grant = _grant(view)
    if grant is None:
        choose = view.words.gettext("Choose a role and where it is held.")
        return _invitation_page(office, view, Form({name: view.field(name) for name in FIELDS}, {"role": choose}))
    view.require(Act.USER_INVITE, grant.institution_id)
    with transaction(office.engine) as session:
        if grant.institution_id is not None and session.get(Institution, grant.institution_id) is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        invited = accounts.invite(
            session, view.field("email"), view.field("name"), grant,
            by=view.actor, pepper=office.pepper, now=view.visit.now,
        )  # fmt: skip
    if not isinstance(invited, Invitation):
        return _invitation_page(office, view, sent(view, FIELDS, invited))
    if invited.token is None:
        return view.to("/staff/people?told=given")
    is_sent = send_link(office, view, Purpose.INVITATION, invited)
    return view.to(f"/staff/people?told={'invited' if is_sent else 'unsent'}")


def _invitation_page(office: Office, view: View, form: Form) -> Page:
    place = scope(view.staff.memberships, Act.USER_INVITE)
    with transaction(office.engine) as session:
        found = institutions.list_institutions(session, place)
    places = [(WHOLE, view.words.gettext("The whole platform"))] if place.everything else []
    places += [(str(one.id), view.pick(one.name_sw, one.name_en)) for one in found]
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.problems else HTTPStatus.OK
    return Page("core/staff/invite.html", {"form": form, "roles": list(Role), "places": places}, status)


def _person(office: Office, view: View) -> Page:
    with transaction(office.engine) as session:
        account, grants = _find(session, view)
        names = _names(session)
    facts = {
        "account": account,
        "grants": [
            (grant, not _is_own_rule(view, account, grant))
            for grant in grants
            if view.may(Act.USER_EDIT, grant.institution_id)
        ],
        "names": names,
        "is_managed": _is_managed(view, account, grants),
        "told": view.request.query_params.get("told"),
    }
    return Page("core/staff/person.html", facts)


def _withdraw(office: Office, view: View) -> Response:
    grant = _grant(view)
    if grant is None:
        raise HTTPException(HTTPStatus.BAD_REQUEST)
    with transaction(office.engine) as session:
        account, _ = _find(session, view)
        view.require(Act.USER_EDIT, grant.institution_id)
        if _is_own_rule(view, account, grant):
            raise HTTPException(HTTPStatus.FORBIDDEN)
        accounts.withdraw(session, account, grant, by=view.actor, now=view.visit.now)
    return view.to("/staff/people?told=withdrawn")


def _change(office: Office, view: View) -> Response:
    """Disabling, enabling, taking away a lost second factor: by who is admin wherever the person has a role."""
    with transaction(office.engine) as session:
        account, grants = _find(session, view)
        if not _is_managed(view, account, grants):
            raise HTTPException(HTTPStatus.FORBIDDEN)
        match view.request.path_params["change"]:
            case "disable":
                accounts.disable(session, account, by=view.actor, now=view.visit.now)
            case "enable":
                accounts.enable(session, account, by=view.actor, now=view.visit.now)
            case "second-factor":
                enrolment.remove_for(session, account, view.actor, view.visit)
            case _:
                raise HTTPException(HTTPStatus.NOT_FOUND)
    return view.to(f"/staff/people/{account.id}?told=changed")


def _find(session: Session, view: View) -> tuple[UserAccount, Sequence[Grant]]:
    """The account and all its roles. 404 for who has none where the asker may edit people: whether there is such an
    account is not ours to tell."""
    account = session.get(UserAccount, view.request.path_params["id"])
    grants = () if account is None else sessions.memberships_of(session, account.id)
    place = scope(view.staff.memberships, Act.USER_EDIT)
    if account is None or not (place.everything or any(place.covers(grant.institution_id) for grant in grants)):
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return account, grants


def _is_own_rule(view: View, account: UserAccount, grant: Grant) -> bool:
    """Nobody gives up ruling the whole platform by a slip: another who rules it takes it away."""
    return account.id == view.staff.user_id and grant == Grant(Role.ADMIN, None)


def _is_managed(view: View, account: UserAccount, grants: Sequence[Grant]) -> bool:
    return account.id != view.staff.user_id and may_manage(view.staff.memberships, grants)


def _grant(view: View) -> Grant | None:
    role, place = view.field("role"), view.field("institution_id")
    if role not in set(Role) or not (place == WHOLE or (place.isascii() and place.isdigit() and len(place) < 10)):
        return None
    return Grant(Role(role), None if place == WHOLE else int(place))


def _names(session: Session) -> dict[int, Institution]:
    everywhere = scope([Grant(Role.ADMIN, None)])
    return {one.id: one for one in institutions.list_institutions(session, everywhere)}
