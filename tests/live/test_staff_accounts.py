"""Accounts of staff in a real PostgreSQL: links, passwords, roles, and the command line."""

import getpass
import json
import os
import subprocess
from argparse import Namespace
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core import audit
from core.database import open_engine, transaction
from core.problems import Message, Problem
from core.staff import accounts, login, sessions
from core.staff.links import Purpose
from core.staff.login import LoggedIn, NeedsSecondFactor, Refused
from core.staff.permissions import Grant, Role
from core.staff.sessions import Visit
from core.staff.tables import Membership
from ingest.rtmp.client import PublishStarted
from mbashara.cli import channel_rotate_key
from mbashara.settings import Settings
from tests.live.rtmp_kit import Encoder
from tests.live.staff_kit import (
    ADMIN,
    BY,
    NEW_PASSWORD,
    NOW,
    PASSWORD,
    PEPPER,
    added,
    database,
    everywhere,
    half_open,
    invited,
    later,
    logged_in,
    member,
    with_second_factor,
)
from tests.up import Up, command


@pytest.fixture(scope="module")
def engine(mbashara_up: Up) -> Iterator[Engine]:
    with database(mbashara_up, "accounts_test") as engine:
        yield engine


def test_an_invitation_is_accepted_once(session: Session) -> None:
    invitation = invited(session)
    assert invitation.token is not None
    use = partial(accounts.use_link, session, Purpose.INVITATION, invitation.token, visit=later(60), pepper=PEPPER)
    assert use("password1234") == (Problem("password", Message.PASSWORD_OBVIOUS),)
    assert use(PASSWORD) is invitation.account
    assert use(NEW_PASSWORD) == (Problem("link", Message.LINK),)
    logged_in(session, later(61))
    assert invited(session).token is None, "who has a password gets no second invitation"


def test_links_that_open_nothing(session: Session) -> None:
    invitation = invited(session)
    assert invitation.token is not None

    def opens(token: str, at: Visit, purpose: Purpose = Purpose.INVITATION) -> bool:
        return accounts.account_of_link(session, purpose, token, pepper=PEPPER, now=at.now) is not None

    assert opens(invitation.token, later())
    assert not opens(invitation.token, later(7 * 86400))
    assert not opens(invitation.token, later(), Purpose.RESET)
    assert not opens(invitation.token[:-2] + "xx", later())
    accounts.disable(session, invitation.account, by=BY, now=NOW)
    assert not opens(invitation.token, later())


def test_a_reset_ends_sessions_and_keeps_the_second_factor(session: Session) -> None:
    member(session)
    phone, _ = with_second_factor(session)
    entered = login.second_step(session, half_open(session, later()), phone.at(NOW), later(), pepper=PEPPER)
    assert isinstance(entered, LoggedIn)
    reset = accounts.reset_token(session, "Asha@EGA.go.tz", pepper=PEPPER, now=NOW)
    assert reset is not None and reset.token is not None
    used = accounts.use_link(session, Purpose.RESET, reset.token, NEW_PASSWORD, visit=later(), pepper=PEPPER)
    assert used is reset.account
    assert sessions.find(session, entered.token, NOW) is None
    assert isinstance(login.log_in(session, "asha@ega.go.tz", NEW_PASSWORD, later()), NeedsSecondFactor)
    assert login.log_in(session, "asha@ega.go.tz", PASSWORD, later()) == Refused()


def test_there_is_no_reset_for_who_has_no_password(session: Session) -> None:
    invited(session)
    assert accounts.reset_token(session, "asha@ega.go.tz", pepper=PEPPER, now=NOW) is None
    assert accounts.reset_token(session, "nani@ega.go.tz", pepper=PEPPER, now=NOW) is None


def test_changing_the_password_takes_the_old_one_and_ends_other_sessions(session: Session) -> None:
    member(session)
    other, _ = logged_in(session, later())
    token, person = logged_in(session, later())
    wrong = accounts.change_password(session, person, "x", NEW_PASSWORD, visit=later())
    assert wrong == (Problem("old_password", Message.PASSWORD_WRONG),)
    assert accounts.change_password(session, person, PASSWORD, NEW_PASSWORD, visit=later()) == ()
    assert [sessions.find(session, one, NOW) is not None for one in (token, other)] == [True, False]
    for _ in range(4):
        accounts.change_password(session, person, "x", PASSWORD, visit=later())
    locked = accounts.change_password(session, person, NEW_PASSWORD, PASSWORD, visit=later())
    assert locked == (Problem("old_password", Message.LOCKED),)


def test_a_disabled_account_is_out_at_once_and_back_with_its_password(session: Session) -> None:
    account = member(session)
    token, _ = logged_in(session, later())
    accounts.disable(session, account, by=BY, now=NOW)
    assert sessions.find(session, token, NOW) is None
    accounts.enable(session, account, by=BY, now=NOW)
    assert sessions.find(session, token, NOW) is None
    logged_in(session, later())


def test_roles_are_given_once_and_taken(session: Session) -> None:
    account = member(session)
    assert not accounts.grant(session, account, ADMIN, by=BY, now=NOW), "null is a place like any other"
    bunge = added(session, "bunge")
    editor = Grant(Role.EDITOR, bunge.id)
    assert accounts.grant(session, account, editor, by=BY, now=NOW)
    assert set(sessions.memberships_of(session, account.id)) == {ADMIN, editor}
    assert accounts.withdraw(session, account, ADMIN, by=BY, now=NOW)
    assert not accounts.withdraw(session, account, ADMIN, by=BY, now=NOW)
    assert sessions.memberships_of(session, account.id) == (editor,)
    with pytest.raises(IntegrityError):
        session.add(Membership(user_id=account.id, institution_id=None, role="mfalme", created_at=NOW))
        session.flush()


def user_add(up: Up, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return command(up.data, "user", "add", *words, "--name", "Asha Juma", **settings)


def test_the_command_line_makes_the_first_admin(mbashara_up: Up) -> None:
    made = user_add(mbashara_up, "Asha@ega.go.tz", public_url="https://live.go.tz/")
    start = "https://live.go.tz/sw/staff/invitation/"
    assert (made.returncode, made.stderr, made.stdout.count("\n")) == (0, "", 1) and made.stdout.startswith(start)
    settings = Settings(data=mbashara_up.data)
    engine, pepper = open_engine(settings.sqlalchemy_url), settings.pepper_file.read_bytes()
    try:
        with transaction(engine) as session:
            token = made.stdout.strip().removeprefix(start)
            account = accounts.account_of_link(session, Purpose.INVITATION, token, pepper=pepper, now=datetime.now(UTC))
            assert account is not None and account.email == "asha@ega.go.tz"
            assert sessions.memberships_of(session, account.id) == (ADMIN,)
            assert [(entry.act, entry.actor) for entry in audit.list_entries(session, everywhere(), limit=1)] == [
                ("user.grant", f"command line ({os.environ.get('SUDO_USER') or getpass.getuser()})")
            ]
    finally:
        engine.dispose()


def test_the_command_line_s_channels_stand_in_the_log(mbashara_up: Up) -> None:
    old = mbashara_up.channel_add_by_command("daftarini").primary_key
    with Encoder(mbashara_up, old) as encoder:
        assert isinstance(encoder.answer, PublishStarted), "media knows it"
    assert channel_rotate_key(Settings(data=mbashara_up.data), Namespace(slug="daftarini", json=True)) == 0
    with Encoder(mbashara_up, old) as encoder:
        assert encoder.refusal, "once the command has returned"
    engine = open_engine(Settings(data=mbashara_up.data).sqlalchemy_url)
    try:
        with transaction(engine) as session:
            wanted = audit.Filter(subject="channel:daftarini")
            acts = [entry.act for entry in audit.list_entries(session, everywhere(), wanted, limit=9)]
    finally:
        engine.dispose()
    assert acts == ["key.rotate", "key.rotate", "channel.add"]


def test_the_command_line_tells_json_and_refuses_in_one_line(mbashara_up: Up) -> None:
    told = json.loads(user_add(mbashara_up, "juma@ega.go.tz", "--role", "engineer", "--json").stdout)
    assert told["link"].startswith("http://127.0.0.1:") and told["role"] == "engineer"
    for words, line in (
        (["juma"], f" / {Message.EMAIL}\n"),
        (["juma@ega.go.tz", "--institution", "hakuna"], "hakuna taasisi hakuna / there is no institution hakuna\n"),
        (["juma@ega.go.tz", "--password-stdin"], f" / {Message.PASSWORD_SHORT}\n"),
    ):
        refused = user_add(mbashara_up, *words)
        assert refused.returncode == 2 and refused.stderr.endswith(line), refused.stderr
        assert refused.stderr.count("\n") == 1
