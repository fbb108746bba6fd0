"""The private folder that caches are kept in."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def directory() -> Path | None:
    """The private cache folder, made if need be; None where there is none to be had or it is turned off."""
    wanted = os.environ.get("XRD_JAX_CACHE", "")
    if wanted.lower() == "off":
        return None
    try:
        home = Path(wanted or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xrd_jax")
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = home.lstat()
        if hasattr(os, "getuid") and (found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode)):
            return None
        if found.st_mode & 0o077:
            home.chmod(0o700)
    except (OSError, RuntimeError):
        return None
    return home
