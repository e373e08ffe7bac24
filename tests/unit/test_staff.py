"""Staff without a database: passwords, time-based codes, lock-out, links, mail, and the table of who may do what."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.problems import LOCALE, Message
from core.staff import letters, links, passwords
from core.staff.accounts import clean_email
from core.staff.links import Purpose
from core.staff.lockout import POLICY, Failures, address_key, decide, tried
from core.staff.mail import FolderMailer, Letter, MailError, SmtpMailer, open_mailer
from core.staff.permissions import ACTS_OF, Act, Grant, Role, Scope, may, may_manage, scope
from core.staff.second_factor import STEP_S, matching_step
from core.staff.tables import UserAccount
from core.web.i18n import Language, catalogue

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
PEPPER = b"p" * 32
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.mark.parametrize(
    ("password", "message"),
    [
        ("kumi na mbili", None), ("maembe saba mezani", None), ("xK4$pq9-Lm2w", None), ("mfalme wa bahari 1964", None),
        ("mfupi-sana1", Message.PASSWORD_SHORT), ("", Message.PASSWORD_SHORT),
        ("ndefu mno " * 26, Message.PASSWORD_LONG),
        ("aaaaaaaaaaaaaaaa", Message.PASSWORD_OBVIOUS), ("123456789012", Message.PASSWORD_OBVIOUS),
        ("password1234", Message.PASSWORD_OBVIOUS), ("P@ssw0rd2026!", Message.PASSWORD_OBVIOUS),
        ("passwordpassword", Message.PASSWORD_OBVIOUS), ("Tanzania-2026", Message.PASSWORD_OBVIOUS),
        ("2026Nenosiri!!", Message.PASSWORD_OBVIOUS), ("Qwertyuiop123", Message.PASSWORD_OBVIOUS),
        ("Asha.Juma.1234", Message.PASSWORD_OBVIOUS), ("asha@ega.go.tz", Message.PASSWORD_OBVIOUS),
    ],
)  # fmt: skip
def test_which_passwords_are_taken(password: str, message: Message | None) -> None:
    assert passwords.problem(password, "asha@ega.go.tz", "Asha Juma") is message


def test_a_password_is_found_again_however_a_keyboard_wrote_it() -> None:
    hashed = passwords.hash_password("Caf\u00e9 ya Mwanza")
    assert hashed.startswith("$argon2id$")
    assert passwords.verify(hashed, "Cafe\u0301 ya Mwanza")
    assert not passwords.verify(hashed, "Cafe ya Mwanza")
    assert not passwords.needs_rehash(hashed)
    assert passwords.needs_rehash(hashed.replace("m=65536", "m=1024"))


@pytest.mark.parametrize("no_hash", [None, "", "plain"])
def test_nobody_has_every_password(no_hash: str | None) -> None:
    assert not passwords.verify(no_hash, "no account has this password")


def test_an_unknown_person_costs_as_much_work_as_a_known_one() -> None:
    known, unknown = (work_s(hashed) for hashed in (passwords.hash_password("kumi na mbili"), None))
    assert unknown > known / 3


def work_s(password_hash: str | None) -> float:
    """CPU time, which a busy machine does not stretch much; the first try makes what is cached."""
    passwords.verify(password_hash, "maembe saba")
    started_s = time.process_time()
    passwords.verify(password_hash, "maembe saba")
    return time.process_time() - started_s


@pytest.mark.parametrize(("off_steps", "found"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_phones_clock_may_be_a_step_off(off_steps: int, found: bool) -> None:
    current = int(NOW.timestamp()) // STEP_S
    code = pyotp.TOTP(SECRET).generate_otp(current + off_steps)
    assert matching_step(SECRET, f" {code[:3]} {code[3:]}", NOW) == (current + off_steps if found else None)


@given(st.text(max_size=80))
def test_any_text_is_a_code_or_not(text: str) -> None:
    codes = {pyotp.TOTP(SECRET).generate_otp(int(NOW.timestamp()) // STEP_S + off) for off in (-1, 0, 1)}
    assert (matching_step(SECRET, text, NOW) is None) == ("".join(text.split()) not in codes)


@pytest.mark.parametrize(
    ("failures", "wait_s"),
    [(0, 0), (4, 0), (5, 30), (6, 60), (7, 120), (11, 1920), (12, 3600), (13, 3600), (10_000, 3600)],
)
def test_five_tries_are_free_then_the_wait_doubles_to_an_hour(failures: int, wait_s: int) -> None:
    until = NOW + timedelta(seconds=wait_s)
    failed = Failures(failures, NOW if failures else None)
    assert decide(failed, NOW) == (until if wait_s else None)
    assert decide(failed, until) is None
    assert wait_s == 0 or decide(failed, until - timedelta(milliseconds=1)) == until


def test_a_policy_is_an_argument() -> None:
    strict = replace(POLICY, free_tries=1, first_wait=timedelta(minutes=5))
    assert decide(Failures(1, NOW), NOW, strict) == NOW + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("197.250.1.7", "197.250.1.7"), ("::ffff:197.250.1.7", "197.250.1.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"), ("2001:db8:1:2:bbbb::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"), ("", ""), ("unknown" * 20, ("unknown" * 20)[:64]),
    ],
)  # fmt: skip
def test_an_address_is_counted_by_whoever_holds_it(address: str, key: str) -> None:
    assert address_key(address) == key


def test_what_was_typed_is_not_kept() -> None:
    assert "nenosiri langu" not in tried("nenosiri langu", "").account_key


def account(password_hash: str | None = None) -> UserAccount:
    return UserAccount(id=7, email="asha@ega.go.tz", name="Asha", password_hash=password_hash, disabled_at=None)


def test_a_link_is_good_until_it_expires_or_is_used() -> None:
    token = links.sign(Purpose.INVITATION, account(), pepper=PEPPER, now=NOW)
    claim = links.read(Purpose.INVITATION, token, pepper=PEPPER, now=NOW + timedelta(days=7, seconds=-1))
    assert claim is not None and links.fits(claim, account(), pepper=PEPPER)
    assert not links.fits(claim, account("a new hash"), pepper=PEPPER)
    assert not links.fits(claim, UserAccount(id=8, email="asha@ega.go.tz"), pepper=PEPPER)
    assert links.read(Purpose.INVITATION, token, pepper=PEPPER, now=NOW + timedelta(days=7)) is None
    assert links.read(Purpose.RESET, token, pepper=PEPPER, now=NOW) is None
    assert links.read(Purpose.INVITATION, token, pepper=b"q" * 32, now=NOW) is None
    assert links.url("https://live.go.tz", Purpose.RESET, "T") == "https://live.go.tz/sw/staff/reset/T"


def test_a_link_changed_at_any_character_is_none() -> None:
    token = links.sign(Purpose.RESET, account("hash"), pepper=PEPPER, now=NOW)
    claim = links.read(Purpose.RESET, token, pepper=PEPPER, now=NOW)
    for at, letter in enumerate(token[:-1]):  # the last one has bits that base64 does not use
        changed = token[:at] + ("A" if letter != "A" else "B") + token[at + 1 :]
        assert links.read(Purpose.RESET, changed, pepper=PEPPER, now=NOW) is None
    assert claim is not None


@given(st.text(max_size=600))
def test_any_text_is_no_link(text: str) -> None:
    assert links.read(Purpose.RESET, text, pepper=PEPPER, now=NOW) is None


@pytest.mark.parametrize(
    ("text", "email"),
    [
        (" Asha@eGA.go.tz ", "asha@ega.go.tz"), ("a.b+c@d-e.tz", "a.b+c@d-e.tz"), ("asha", None), ("@ega.go.tz", None),
        ("asha@ega", None), ("a@b.c\nBcc: x@y.z", None), ("a b@c.d", None), (f"{'a' * 65}@ega.go.tz", None),
        (f"a@{'b.' * 130}tz", None), ("ašha@ega.go.tz", None), ("a@b..c", None),
    ],
)  # fmt: skip
def test_addresses_of_people(text: str, email: str | None) -> None:
    assert clean_email(text) == email


def test_letters_in_a_folder_are_the_newest(tmp_path: Path) -> None:
    mailer = FolderMailer(tmp_path / "mail", "mbashara@ega.go.tz", kept=2)
    for minute, purpose in enumerate([Purpose.RESET, Purpose.INVITATION, Purpose.RESET]):
        letter = letters.letter(purpose, to="asha@ega.go.tz", name="Asha Juma", url="https://live.go.tz/x")
        mailer.send(letter, NOW.replace(minute=minute))
    kept = sorted((tmp_path / "mail").glob("*.eml"))
    assert len(kept) == 2 and kept[0].name == "20261124T090100.000000-asha-ega-go-tz.eml"
    message = message_from_bytes(kept[1].read_bytes(), policy=policy.default)
    assert (message["To"], message["From"]) == ("asha@ega.go.tz", "mbashara@ega.go.tz")
    text = message.get_content()
    assert text.count("https://live.go.tz/x") == 2 and "dakika 60" in text and "60 minutes" in text
    assert "siku 7" in message_from_bytes(kept[0].read_bytes(), policy=policy.default).get_content()


def test_a_mail_server_that_is_not_there_is_told_without_its_password(tmp_path: Path) -> None:
    mailer = open_mailer("smtp://asha:siri@127.0.0.1:1", "mbashara@ega.go.tz", tmp_path)
    assert isinstance(mailer, SmtpMailer)
    with pytest.raises(MailError) as failed:
        mailer.send(Letter("asha@ega.go.tz", "x", "y"), NOW)
    assert "siri" not in str(failed.value)


EXPECTED = {
    Act.BROADCAST_CREATE: "engineer editor admin", Act.BROADCAST_EDIT: "engineer editor admin",
    Act.BROADCAST_GO_LIVE: "engineer admin", Act.BROADCAST_END: "engineer admin", Act.CHANNEL_ADD: "engineer admin",
    Act.CHANNEL_EDIT: "engineer admin", Act.KEY_ROTATE: "engineer admin", Act.HEALTH_READ: "engineer admin",
    Act.ALARM_ACKNOWLEDGE: "engineer admin",
    Act.RECORDING_READ: "admin archivist engineer",
    Act.RECORDING_EDIT: "archivist admin", Act.RECORDING_IMPORT: "archivist admin",
    Act.RECORDING_EXPORT: "archivist editor admin",
    Act.PAGE_EDIT: "editor admin", Act.VACANCY_EDIT: "recruiter admin",
    Act.INSTITUTION_ADD: "admin", Act.INSTITUTION_EDIT: "admin", Act.USER_INVITE: "admin", Act.USER_EDIT: "admin",
    Act.AUDIT_READ: "admin",
    Act.WEBHOOK_EDIT: "admin",
    Act.RECORDING_HOLD: "archivist admin", Act.RECORDING_EMBARGO: "archivist admin",
    Act.RECORDING_EXPORT: "archivist editor admin", Act.DISPOSAL_ASK: "archivist admin",
    Act.DISPOSAL_APPROVE: "admin", Act.RETENTION_EDIT: "admin",
}  # fmt: skip


@pytest.mark.parametrize("act", Act)
def test_who_may_do_what(act: Act) -> None:
    assert set(ACTS_OF) == set(Role)
    assert [role for role in Role if may([Grant(role, 1)], act, 1)] == [
        role for role in Role if role in EXPECTED[act].split()
    ]


@pytest.mark.parametrize("act", Act)
@pytest.mark.parametrize("role", Role)
def test_no_role_reaches_another_institution(role: Role, act: Act) -> None:
    assert not may([Grant(role, 1)], act, 2)
    assert not may([Grant(role, 1)], act, None), "nor the platform"
    assert may([Grant(role, None)], act, 2) == (act in ACTS_OF[role]), "one of the platform reaches all"


def test_roles_do_not_mix_across_institutions() -> None:
    memberships = [Grant(Role.ADMIN, 1), Grant(Role.EDITOR, 2)]
    assert not may(memberships, Act.USER_INVITE, 2)
    assert scope(memberships, Act.PAGE_EDIT) == Scope(False, frozenset({1, 2}))
    assert scope(memberships, Act.AUDIT_READ) == Scope(False, frozenset({1}))
    assert scope([], None) == Scope(False, frozenset())
    assert not may([], Act.PAGE_EDIT, 1)


@pytest.mark.parametrize(
    ("mine", "others", "expected"),
    [
        ([Grant(Role.ADMIN, 1)], [Grant(Role.EDITOR, 1)], True),
        ([Grant(Role.ADMIN, 1)], [Grant(Role.EDITOR, 1), Grant(Role.ADMIN, None)], False),
        ([Grant(Role.ADMIN, 1)], [Grant(Role.EDITOR, 1), Grant(Role.EDITOR, 2)], False),
        ([Grant(Role.ADMIN, None)], [Grant(Role.ADMIN, None), Grant(Role.EDITOR, 2)], True),
        ([Grant(Role.ENGINEER, None)], [Grant(Role.EDITOR, 1)], False),
    ],
)
def test_nobody_takes_over_an_account_with_roles_elsewhere(
    mine: list[Grant], others: list[Grant], expected: bool
) -> None:
    assert may_manage(mine, others) is expected


@pytest.mark.parametrize("message", Message)
def test_every_message_is_in_swahili_too(message: Message) -> None:
    assert catalogue(Language.SW, LOCALE).gettext(message) != message
