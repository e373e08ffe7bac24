"""Templates of all rooms in one language: Jinja with our filters, and the form components of GOV.UK Frontend."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from gettext import NullTranslations
from pathlib import Path
from typing import Any

from jinja2 import ChainableUndefined, Environment, FileSystemLoader, PackageLoader, PrefixLoader, UndefinedError
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


class Templates:
    def __init__(
        self, rooms: Mapping[str, Path], language: Language, words: NullTranslations, assets: Assets, public_url: str
    ) -> None:
        ours = {name: FileSystemLoader(folder / "templates") for name, folder in {"core": HERE, **rooms}.items()}
        self._environment = Environment(
            loader=PrefixLoader({**ours, COMPONENTS: PackageLoader(COMPONENTS)}),
            autoescape=True,
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
            "actor": partial(actor, language=language),
            "day": partial(dates.day, language=language),
            "weekday": partial(dates.weekday, language=language),
            "month": partial(dates.month, language=language),
            "day_of_week": partial(dates.day_of_week, language=language),
            "clock": partial(dates.clock, language=language),
            "exact_clock": partial(dates.exact_clock, language=language),
            "moment": partial(dates.moment, language=language),
            "exact_moment": partial(dates.exact_moment, language=language),
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
