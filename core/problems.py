"""What is wrong with what a person entered, as data: the field and the message. Message ids are the English words;
core/locale has the Swahili."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

LOCALE = Path(__file__).parent / "locale"


class Message(StrEnum):
    """Every message of core's own checks."""

    SLUG = "Use 1 to 40 of a-z, 0-9 and hyphen."
    SLUG_TAKEN = "Another institution has this short name."
    NAME = "Enter a name of 1 to 200 characters."
    ACRONYM = "Use at most 20 characters in the acronym."
    KIND = "Choose the kind of institution."
    PARENT = "Choose an institution that exists."
    PARENT_LOOP = "An institution cannot be under itself or under one that is under it."
    REGION = "Choose a region."
    ORIGIN = "Write each site as https://name, without a path."
    ORIGINS_MANY = "Give at most 20 sites."
    COLOUR = "Write the colour as # and six digits, such as #1e5945."
    COLOUR_PALE = "Choose a darker colour: white text must be readable on it."
    EMBLEM_NONE = "Choose a picture."
    EMBLEM_LARGE = "The picture has more than 2 MB. Send a smaller one."
    EMBLEM_SVG = "SVG can't be taken, as it can hold programs. Save the picture as PNG and send that."
    EMBLEM_KIND = "This is not a PNG, JPEG or WebP picture, whatever its name says."
    EMBLEM_BROKEN = "The picture is broken or not whole. Save it anew and send that."
    EMBLEM_MORE = "There is something else behind the picture in this file. Save the picture anew and send that."
    EMBLEM_PIXELS = "The picture is more than 4096 pixels wide or high. Send a smaller one."
    EMBLEM_SMALL = "The picture is less than 64 pixels wide or high. Send a larger one."
    EMBLEM_BUSY = "The machine is too busy to draw pictures now. Try again in a minute."
    EMAIL = "Enter an e-mail address, such as name@example.go.tz."
    PASSWORD_SHORT = "Use at least 12 characters in the password."
    PASSWORD_LONG = "Use at most 256 characters in the password."
    PASSWORD_OBVIOUS = "This password is easy to guess. Choose another."
    PASSWORD_WRONG = "The password is not right."
    PASSWORD_SET = "This account has a password already."
    LINK = "This link has expired or was used already. Ask for a new one."
    TOKEN_NAME = "Use 1 to 40 of a-z, 0-9 and hyphen in the token's name."
    TOKEN_TAKEN = "Another token has or had this name."
    TOKEN_SCOPES = "Choose at least one scope, and only those that exist."
    TOKEN_DAYS = "A token lasts 1 to 365 days."
    WEBHOOK_URL = "Write an address as https://name/path, without a user name or password."
    WEBHOOK_PRIVATE = "This address leads into a private network. Give one that the internet can reach."
    WEBHOOK_EVENTS = "Choose at least one event, and only those that exist."
    WEBHOOK_MANY = "This institution has as many webhooks as it may have. Delete one first."
    LOCKED = "Too many tries. Wait and try again."


@dataclass(frozen=True, slots=True)
class Problem:
    """One field's trouble. `field` is the form field's name."""

    field: str
    message: Message


Problems = tuple[Problem, ...]
