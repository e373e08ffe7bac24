"""What was entered and what is wrong with it, as templates/forms.html shows it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from core.problems import Problem, Problems
from core.web.site import View


@dataclass(frozen=True, slots=True)
class Form:
    """Both by the field's name; problems in the reader's language."""

    values: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


def sent(view: View, names: Iterable[str], problems: Problems) -> Form:
    """The form as it was sent, to be shown again with what is wrong. Never name a password here."""
    return Form({name: view.field(name) for name in names}, worded(view, problems))


def worded(view: View, problems: Iterable[Problem]) -> dict[str, str]:
    return {problem.field: view.words.gettext(problem.message) for problem in problems}
