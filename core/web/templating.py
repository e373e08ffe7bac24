"""Templates of all rooms in one language: Jinja with our filters, and the form components of GOV.UK Frontend."""

from collections.abc import Callable, Iterator, Mapping
from gettext import NullTranslations
from pathlib import Path
from typing import Any

from jinja2 import (
    BytecodeCache,
    ChainableUndefined,
    Environment,
    FileSystemLoader,
    PackageLoader,
    PrefixLoader,
    UndefinedError,
    pass_context,
)
from jinja2.bccache import Bucket
from jinja2.runtime import Context
from jinja2.utils import missing

from core.brand import sheet_address
from core.web import dates
from core.web.actors import actor
from core.web.assets import Assets
from core.web.i18n import Language

HERE = Path(__file__).parent
COMPONENTS = "govuk_frontend_jinja"


class Unnamed(ChainableUndefined):
    """A name that nobody gave is a mistake of ours and raises; a key that a mapping lacks is empty, as the components
    expect of their parameters."""

    def __str__(self) -> str:
        self._check()
        return ""

    def __bool__(self) -> bool:
        self._check()
        return False

    def __iter__(self) -> Iterator[Any]:
        self._check()
        return iter(())

    def _check(self) -> None:
        if self._undefined_obj is missing and self._undefined_name != "caller":
            raise UndefinedError(self._undefined_message)


class Compiled(BytecodeCache):
    """What templates were compiled to, in this process's memory: once for both languages and for every site in it."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._kept:
            bucket.bytecode_from_string(self._kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key] = bucket.bytecode_to_string()


COMPILED = Compiled()
IN_WORDS: Mapping[str, Callable[..., str]] = {
    "actor": actor, "day": dates.day, "weekday": dates.weekday, "month": dates.month, "day_of_week": dates.day_of_week,
    "clock": dates.clock, "exact_clock": dates.exact_clock, "moment": dates.moment, "exact_moment": dates.exact_moment,
    "zoned_moment": dates.zoned_moment,
}  # fmt: skip
"""Filters that take a language."""


class Templates:
    def __init__(
        self, rooms: Mapping[str, Path], language: Language, words: NullTranslations, assets: Assets, public_url: str
    ) -> None:
        ours = {name: FileSystemLoader(folder / "templates") for name, folder in {"core": HERE, **rooms}.items()}
        self._environment = Environment(
            loader=PrefixLoader({**ours, COMPONENTS: PackageLoader(COMPONENTS)}),
            autoescape=True,
            bytecode_cache=COMPILED,
            undefined=Unnamed,
            extensions=["jinja2.ext.i18n"],
            trim_blocks=True,
            lstrip_blocks=True,
        )
        install: Callable[..., None] = getattr(self._environment, "install_gettext_translations")  # noqa: B009 (added by the extension)
        install(words, newstyle=True)
        self._environment.globals |= {
            "asset": assets.address,
            "brand_sheet": sheet_address,
            "language": language.value,
            "languages": list(Language),
            "public_url": public_url,
            "undefined": ChainableUndefined(),  # the components' word for nothing
        }
        self._environment.filters |= {
            **{name: _in(language, words) for name, words in IN_WORDS.items()},
            "duration": dates.duration,
            "exactly": dates.exactly,
            "seconds": dates.seconds,
        }

    def render(self, name: str, facts: Mapping[str, Any]) -> str:
        return self._environment.get_template(name).render(facts)

    def macro(self, name: str, macro: str) -> Callable[..., str]:
        """A macro of a template, for a piece of a page; what its template imports is made once, not at each call."""
        found: Callable[..., str] = getattr(self._environment.get_template(name).module, macro)
        return found


def _in(language: Language, words: Callable[..., str]) -> Callable[..., str]:
    """With a context, which it does not need: so the compiler works nothing out beforehand that is one language's."""

    @pass_context
    def told(_context: Context, *arguments: Any, **named: Any) -> str:
        return words(*arguments, language=language, **named)

    return told
