"""What pydantic finds wrong with a setting or a file of settings, in words that stand in the catalogue."""

from typing import TYPE_CHECKING

from pydantic import ValidationError

from core.plain import N_, PlainError, Text, told

if TYPE_CHECKING:
    from core.web.i18n import Language

TYPES = {
    "greater_than_equal": N_("Input should be greater than or equal to {ge}"),
    "greater_than": N_("Input should be greater than {gt}"),
    "less_than_equal": N_("Input should be less than or equal to {le}"),
    "less_than": N_("Input should be less than {lt}"),
    "int_parsing": N_("Input should be a whole number"),
    "int_type": N_("Input should be a whole number"),
    "int_from_float": N_("Input should be a whole number"),
    "float_parsing": N_("Input should be a number"),
    "float_type": N_("Input should be a number"),
    "bool_parsing": N_("Input should be true or false"),
    "bool_type": N_("Input should be true or false"),
    "string_type": N_("Input should be a text"),
    "path_type": N_("Input should be a path"),
    "literal_error": N_("Input should be one of: {expected}"),
    "missing": N_("It is missing"),
    "extra_forbidden": N_("There is no setting of this name"),
}
OTHERWISE = N_("Input has not the form it should have")


class WrongInput(PlainError, ValueError):
    """What our validators raise."""


def first_wrong(error: ValidationError) -> tuple[str, Text]:
    """The field, and what is wrong with it, without what was written there."""
    first = error.errors(include_input=False)[0]
    values, kind = {str(name): value for name, value in first.get("ctx", {}).items()}, first["type"]
    ours = values.get("error")
    if kind == "literal_error":
        values["expected"] = str(values["expected"]).replace("' or '", "', '")  # a word that is English

    def text(language: "Language") -> str:
        if isinstance(ours, PlainError):
            return ours.text(language)
        if kind not in TYPES and language == "en":
            return first["msg"]
        return told(language, TYPES.get(kind, OTHERWISE), values)

    return ".".join(map(str, first["loc"])), text
