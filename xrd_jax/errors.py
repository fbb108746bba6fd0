"""The one exception that means "the user can mend this": its text is a single line naming place and remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input; `launch.py` prints it as one line and leaves with exit code 2."""


def suggest(name: str, valid: Iterable[str]) -> str:
    """Return the remedy for an unknown name: '; did you mean …?' where a valid one is near, else '; use one of …'."""
    valid = list(valid)
    nearest = difflib.get_close_matches(name, valid, 1) or [v for v in valid if v.lower() == name.lower()]
    return f"; did you mean '{nearest[0]}'?" if nearest else f"; use one of {', '.join(valid)}"
