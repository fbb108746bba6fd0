"""The one exception that means "the user can mend this": its text is a single line naming place and remedy."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input; `launch.py` prints it as one line and leaves with exit code 2."""
