"""Logging in on a real PostgreSQL: refusals, lock-out, second factor, sessions."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, delete, func, select
from sqlalchemy.orm import Session

from core import audit
from core.database import transaction
from core.staff import accounts, enrolment, login, passwords, second_factor, sessions
from core.staff.login import LockedUntil, LoggedIn, Refused
from core.staff.sessions import Visit
from core.staff.tables import LoginFailure, RecoveryCode, StaffSession
from tests.live.staff_kit import (
    ADMIN,
    BY,
    NOW,
    PASSWORD,
    PEPPER,
    database,
    everywhere,
    half_open,
    invited,
    later,
    logged_in,
    member,
    with_second_factor,
)
from tests.up import Up


@pytest.fixture(scope="module")
def engine(mbashara_up: Up) -> Iterator[Engine]:
    with database(mbashara_up, "login_test") as engine:
        yield engine


def test_logging_in(session: Session) -> None:
    account = member(session)
    token, person = logged_in(session, later())
    assert (person.user_id, person.memberships, person.has_second_factor) == (account.id, (ADMIN,), False)
    stored = session.scalars(select(StaffSession)).one()
    assert token not in (stored.token_hash, stored.user_agent) and len(token) >= 43
    login.log_out(session, person, later(1))
    assert sessions.find(session, token, NOW) is None


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("asha@ega.go.tz", "si lenyewe kabisa"), ("asha@ega.go.tz", ""), ("nani@ega.go.tz", PASSWORD),
        ("si anwani", PASSWORD), ("a\0@b.tz", PASSWORD),
        ("juma@ega.go.tz", PASSWORD), ("juma@ega.go.tz", ""), ("neema@ega.go.tz", PASSWORD),
    ],
)  # fmt: skip
def test_every_refusal_is_the_same(session: Session, email: str, password: str) -> None:
    """Juma has not accepted his invitation; Neema's account is disabled."""
    member(session)
    invited(session, "juma@ega.go.tz")
    accounts.disable(session, member(session, "neema@ega.go.tz"), by=BY, now=NOW)
    assert login.log_in(session, email, password, later()) == Refused()
    assert session.scalars(select(StaffSession)).all() == []
    newest = audit.list_entries(session, everywhere(), limit=1)[0]
    assert newest.act == "user.log_in_refused"
    assert password == "" or password not in str(vars(newest))


def test_a_hash_of_old_costs_is_made_anew(session: Session) -> None:
    account = member(session)
    old = passwords.HASHER.__class__(time_cost=1, memory_cost=1024).hash(PASSWORD)
    account.password_hash = old
    logged_in(session, later())
    assert account.password_hash != old and account.password_hash is not None
    assert not passwords.needs_rehash(account.password_hash)


def test_a_locked_account_does_not_tell_if_the_password_was_right(session: Session) -> None:
    member(session)
    for number in range(5):
        assert login.log_in(session, "asha@ega.go.tz", "x", later(number, f"197.250.1.{number}")) == Refused()
    until = LockedUntil(NOW + timedelta(seconds=4 + 30))
    for password in ("x", PASSWORD):
        assert login.log_in(session, "asha@ega.go.tz", password, later(33, "197.250.1.99")) == until
    logged_in(session, later(34, "197.250.1.99"))


def test_a_lock_is_not_made_longer_by_knocking_and_doubles_by_failing(session: Session) -> None:
    member(session)
    for _ in range(5):
        login.log_in(session, "asha@ega.go.tz", "x", later())
    for knock in range(20):
        assert isinstance(login.log_in(session, "asha@ega.go.tz", "x", later(knock)), LockedUntil)
    assert login.log_in(session, "asha@ega.go.tz", "x", later(30)) == Refused()
    assert login.log_in(session, "asha@ega.go.tz", "x", later(31)) == LockedUntil(NOW + timedelta(seconds=90))


def test_spraying_one_password_over_many_accounts_meets_the_lock(session: Session) -> None:
    member(session)
    for number in range(5):
        assert login.log_in(session, f"mtu{number}@ega.go.tz", PASSWORD, later()) == Refused()
    assert isinstance(login.log_in(session, "asha@ega.go.tz", PASSWORD, later()), LockedUntil)
    assert isinstance(login.log_in(session, "asha@ega.go.tz", PASSWORD, later(0, "197.250.9.9")), LoggedIn)


def test_an_account_of_ones_own_does_not_clear_the_address(session: Session) -> None:
    member(session, "mwizi@ega.go.tz")
    outcomes = []
    for number in range(7):
        outcomes.append(type(login.log_in(session, f"mtu{number}@ega.go.tz", PASSWORD, later(number))))
        login.log_in(session, "mwizi@ega.go.tz", PASSWORD, later(number))
    assert outcomes == [Refused] * 5 + [LockedUntil] * 2


def test_an_offices_typing_errors_are_taken_back(session: Session) -> None:
    for number in range(4):
        member(session, f"mtu{number}@ega.go.tz")
        login.log_in(session, f"mtu{number}@ega.go.tz", "typo", later(number))
        login.log_in(session, f"mtu{number}@ega.go.tz", "typo", later(number))
        logged_in(session, later(number), f"mtu{number}@ega.go.tz")
    assert session.scalar(select(func.count()).select_from(LoginFailure)) == 0


def test_failures_are_forgotten_after_a_day(session: Session) -> None:
    member(session)
    for _ in range(5):
        login.log_in(session, "asha@ega.go.tz", "x", later())
    assert login.log_in(session, "asha@ega.go.tz", "x", later(86401)) == Refused()
    assert session.scalar(select(func.count()).select_from(LoginFailure)) == 1, "the old ones are gone"


def test_many_tries_at_once_are_five(engine: Engine) -> None:
    outcomes: list[object] = []

    def attempt() -> None:
        with transaction(engine) as session:
            outcomes.append(type(login.log_in(session, "nani@ega.go.tz", "x", later())))

    try:
        at_once(attempt, 4, times=5)
        assert (outcomes.count(Refused), outcomes.count(LockedUntil)) == (5, 15)
    finally:
        with transaction(engine) as session:
            session.execute(delete(LoginFailure))


def at_once(work: Callable[[], None], threads: int, times: int) -> None:
    started = threading.Barrier(threads)

    def run() -> None:
        started.wait()
        for _ in range(times):
            work()

    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)


def test_the_second_factor(session: Session) -> None:
    member(session)
    phone, _ = with_second_factor(session)
    token = half_open(session, later())
    assert sessions.find(session, token, NOW) is None, "half open is not in"
    assert login.second_step(session, token, "000000", later(), pepper=PEPPER) == Refused()
    entered = login.second_step(session, token, phone.at(NOW), later(), pepper=PEPPER)
    assert isinstance(entered, LoggedIn)
    assert entered.token != token, "a token that someone planted stays worthless"
    assert sessions.find(session, token, NOW) is None
    person = sessions.find(session, entered.token, NOW)
    assert person is not None and person.has_second_factor


def test_a_replayed_code_is_refused(session: Session) -> None:
    member(session)
    phone, _ = with_second_factor(session)
    first, second = half_open(session, later()), half_open(session, later())
    code = phone.at(NOW)
    assert isinstance(login.second_step(session, first, code, later(), pepper=PEPPER), LoggedIn)
    assert login.second_step(session, second, code, later(5), pepper=PEPPER) == Refused()
    earlier = phone.at(NOW - timedelta(seconds=30))
    assert login.second_step(session, second, earlier, later(5), pepper=PEPPER) == Refused(), "nor an older one"
    after = phone.at(NOW + timedelta(seconds=30))
    assert isinstance(login.second_step(session, second, after, later(30), pepper=PEPPER), LoggedIn)


def test_a_recovery_code_is_good_once(session: Session) -> None:
    account = member(session)
    _, codes = with_second_factor(session)
    assert len(set(codes)) == 10
    stored = set(session.scalars(select(RecoveryCode.code_hash)))
    assert stored.isdisjoint(codes) and len(stored) == 10
    typed = codes[3].upper().replace("-", " ")
    entered = login.second_step(session, half_open(session, later()), typed, later(), pepper=PEPPER)
    assert isinstance(entered, LoggedIn)
    assert second_factor.recovery_codes_left(session, account) == 9
    again = login.second_step(session, half_open(session, later()), codes[3], later(), pepper=PEPPER)
    assert again == Refused()


def test_guessing_codes_is_locked_out_and_the_password_does_not_clear_it(session: Session) -> None:
    member(session)
    phone, _ = with_second_factor(session)
    for _ in range(5):
        assert login.second_step(session, half_open(session, later()), "000000", later(), pepper=PEPPER) == Refused()
    assert isinstance(login.log_in(session, "asha@ega.go.tz", PASSWORD, later()), LockedUntil)
    token = half_open(session, later(30))
    login.second_step(session, token, "000000", later(30), pepper=PEPPER)
    right = login.second_step(session, token, phone.at(NOW + timedelta(seconds=31)), later(31), pepper=PEPPER)
    assert isinstance(right, LockedUntil)


def test_setting_up_ends_other_sessions_and_keeps_the_secret_sealed(session: Session) -> None:
    account = member(session)
    other, _ = logged_in(session, Visit(NOW - timedelta(hours=1), "197.250.1.8"))
    phone, _ = with_second_factor(session)
    assert sessions.find(session, other, NOW) is None
    assert account.totp_secret is not None and phone.secret not in account.totp_secret


def test_a_factor_in_force_is_not_replaced_or_taken_away_without_a_code(session: Session) -> None:
    account = member(session)
    phone, _ = with_second_factor(session)
    entered = login.second_step(session, half_open(session, later()), phone.at(NOW), later(), pepper=PEPPER)
    assert isinstance(entered, LoggedIn)
    person = sessions.find(session, entered.token, NOW)
    assert person is not None
    assert enrolment.start(session, person, pepper=PEPPER) is None
    assert not enrolment.remove(session, person, phone.at(NOW), later(), pepper=PEPPER), "a used code is no code"
    assert account.has_second_factor
    after = later(30)
    assert len(enrolment.renew_codes(session, person, phone.at(after.now), after, pepper=PEPPER)) == 10
    after = later(60)
    assert enrolment.remove(session, person, phone.at(after.now), after, pepper=PEPPER)
    assert not account.has_second_factor


def test_a_half_open_session_waits_ten_minutes(session: Session) -> None:
    member(session)
    phone, _ = with_second_factor(session)
    token = half_open(session, later())
    code = phone.at(NOW + timedelta(seconds=600))
    assert login.second_step(session, token, code, later(600), pepper=PEPPER) == Refused()


def test_a_log_in_ends_the_session_that_the_browser_had(session: Session) -> None:
    member(session)
    old, _ = logged_in(session, later())
    entered = login.log_in(session, "asha@ega.go.tz", PASSWORD, later(1), old_token=old)
    assert isinstance(entered, LoggedIn) and entered.token != old
    assert sessions.find(session, old, NOW) is None
    login.log_in(session, "asha@ega.go.tz", "wrong", later(2), old_token=entered.token)
    assert sessions.find(session, entered.token, NOW) is not None, "a wrong password ends nothing"


@pytest.mark.parametrize(
    ("touched_h", "asked_h", "found"),
    [
        ([], 1.99, True), ([], 2, False), ([1.5], 3.4, True), ([1.5], 3.5, False),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], 11.99, True), ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], 12, False),
    ],
)  # fmt: skip
def test_sessions_end_when_idle_and_after_a_working_day(
    session: Session, touched_h: list[float], asked_h: float, found: bool
) -> None:
    member(session)
    token, person = logged_in(session, later())
    for hours in touched_h:
        sessions.touch(session, person.session_id, NOW + timedelta(hours=hours))
    asked = NOW + timedelta(hours=asked_h)
    assert (sessions.find(session, token, asked) is not None) is found
    assert len(sessions.list_open(session, person.user_id, asked)) == found


def test_sessions_are_listed_and_revoked_by_their_owner_alone(session: Session) -> None:
    member(session)
    member(session, "juma@ega.go.tz")
    first, asha = logged_in(session, later())
    second, _ = logged_in(session, later(1, "197.250.1.8"))
    third, _ = logged_in(session, later(2, "197.250.1.9"))
    _, juma = logged_in(session, later(), "juma@ega.go.tz")
    listed = sessions.list_open(session, asha.user_id, NOW)
    assert [one.address for one in listed] == ["197.250.1.9", "197.250.1.8", "197.250.1.7"]
    assert not sessions.revoke(session, juma.user_id, listed[0].id)
    assert sessions.revoke(session, asha.user_id, listed[0].id)
    assert sessions.revoke_others(session, asha.user_id, asha.session_id) == 1
    assert [sessions.find(session, token, NOW) is not None for token in (first, second, third)] == [True, False, False]
