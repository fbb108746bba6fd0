"""How a command ends that cannot go on: one line on standard error, and an exit code."""

import os
import sys
import threading
from typing import NoReturn

from xrd_jax.errors import printable


def complain(line: str) -> int:
    """Print the one line of an error and return the exit code that goes with it."""
    print(f"error: {printable(line)}", file=sys.stderr)
    return 2


def leave(line: str) -> NoReturn:
    """End at once with one line and exit code 2; background writers that met the same full disk are not heard."""
    code = complain(line)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def leave_if_peer_failed(error: Exception) -> None:
    """End in one line if `error` comes of another process's end."""
    from xrd_jax.runtime import distributed  # JAX: only where processes train together

    if distributed.is_peer_failure(error):
        distributed.stop()


def ignore_full_disks_in_threads() -> None:
    """Keep background writers that meet a full disk silent: the checkpoint that meets it too stops the run."""

    def report(failure: threading.ExceptHookArgs) -> None:
        if not isinstance(failure.exc_value, OSError):
            threading.__excepthook__(failure)

    threading.excepthook = report
