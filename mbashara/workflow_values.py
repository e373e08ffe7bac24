"""What workflows are given and give, as DBOS keeps it: pickled, in the database. Whoever has the database would have
code of theirs run in the work process, which holds the keys. So of what lies there plain values alone come to life:
containers, text, numbers, times, and exceptions and enumerations that are known here already."""

import base64
import io
import pickle
import sys
from datetime import date, datetime, time, timedelta, timezone
from enum import Enum
from typing import Any

PLAIN = (date, datetime, time, timedelta, timezone)


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = vars(sys.modules[module]).get(name) if module in sys.modules else None
        is_plain = isinstance(found, type) and (found in PLAIN or issubclass(found, BaseException | Enum))
        if not is_plain:
            raise pickle.UnpicklingError(f"{module}.{name} is no plain value")
        return found


def read(text: str) -> Any:
    """Raises UnpicklingError."""
    return _Reader(io.BytesIO(base64.b64decode(text))).load()
