"""The private folder that caches are kept in."""

import os
import stat
from pathlib import Path


def cache_directory() -> Path | None:
    """Return the cache folder, made if need be; None where there is none to be had or $XRD_JAX_CACHE is off.

    It is $XRD_JAX_CACHE, else $XDG_CACHE_HOME/xrd_jax, else ~/.cache/xrd_jax.
    """
    setting = os.environ.get("XRD_JAX_CACHE", "")
    if setting.lower() == "off":
        return None
    try:
        folder = setting or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xrd_jax"
        return private_folder(Path(folder))
    except RuntimeError:  # no home
        return None


def private_folder(path: Path) -> Path | None:
    """Return the folder, made if need be, that nobody else may enter; None where it is a link or another user's."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
            return None
        if status.st_mode & 0o077:
            path.chmod(0o700)
    except OSError:
        return None
    return path
