"""The one exception that means "the user can mend this": its text is a single line naming place and remedy."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

# Control and format characters, lone surrogates, line and paragraph separators: names and headers of files may hold
# any, and a terminal obeys them.
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")


class UserError(ValueError):
    """Bad input; `launch.py` prints it as one line and leaves with exit code 2."""

    def __init__(self, message: str):
        super().__init__(printable(message))


def printable(text: str, kept: str = "") -> str:
    """Return a text with everything that no printer prints, but for the characters `kept`, as escapes such as \\x1b."""
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _UNPRINTABLE and character not in kept
        else character
        for character in text
    )


def suggest(name: str, valid: Iterable[str]) -> str:
    """Return the remedy for an unknown name: '; did you mean …?' where a valid one is near, else '; use one of …'."""
    valid = list(valid)
    nearest = difflib.get_close_matches(name, valid, 1) or [v for v in valid if v.lower() == name.lower()]
    return f"; did you mean '{nearest[0]}'?" if nearest else f"; use one of {', '.join(valid)}"
