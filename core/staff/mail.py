"""The door to e-mail: an SMTP server, or a folder of .eml files where there is none."""

import smtplib
import ssl
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

TIMEOUT_S = 20
KEPT_FILES = 200


class MailError(Exception):
    """The letter was not taken. Nobody got it; it may be sent again."""


@dataclass(frozen=True, slots=True)
class Letter:
    to: str
    subject: str
    text: str


class Mailer(Protocol):
    def send(self, letter: Letter, now: datetime) -> None:
        """Hands the letter over, or raises MailError. Blocks; not for a loop."""


def open_mailer(smtp_url: str, sender: str, folder: Path) -> Mailer:
    """SMTP where a server is named, else the folder."""
    return SmtpMailer(smtp_url, sender) if smtp_url else FolderMailer(folder, sender)


@dataclass(frozen=True, slots=True)
class SmtpMailer:
    """smtp://[USER:PASSWORD@]HOST[:PORT] (STARTTLS where the server offers it, always before a password) or
    smtps:// (TLS from the start)."""

    smtp_url: str
    sender: str

    def send(self, letter: Letter, now: datetime) -> None:
        try:
            with self._connect() as server:
                server.send_message(compose(letter, self.sender, now))
        except (OSError, smtplib.SMTPException) as error:
            raise MailError(f"the mail server did not take the letter: {type(error).__name__}") from error

    def _connect(self) -> smtplib.SMTP:
        parts, tls = urlsplit(self.smtp_url), ssl.create_default_context()
        host = parts.hostname or ""
        if parts.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, parts.port or 465, timeout=TIMEOUT_S, context=tls)
        else:
            server = smtplib.SMTP(host, parts.port or 587, timeout=TIMEOUT_S)
            server.ehlo()
            if parts.username or server.has_extn("starttls"):
                server.starttls(context=tls)
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
        return server


@dataclass(frozen=True, slots=True)
class FolderMailer:
    """The newest letters as files, for a demo and for tests."""

    folder: Path
    sender: str
    kept: int = KEPT_FILES

    def send(self, letter: Letter, now: datetime) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            message = compose(letter, self.sender, now)
            (self.folder / f"{now:%Y%m%dT%H%M%S.%f}-{_word(letter.to)}.eml").write_bytes(message.as_bytes())
            for old in sorted(self.folder.glob("*.eml"))[: -self.kept]:
                old.unlink(missing_ok=True)
        except OSError as error:
            raise MailError(f"cannot write the letter: {error.strerror}") from error


def compose(letter: Letter, sender: str, now: datetime) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, letter.to, letter.subject
    message["Date"], message["Message-ID"] = format_datetime(now), make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    message.set_content(letter.text)
    return message


def _word(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text)[:60]
