"""Compiled programs kept between launches, so that only the first one waits for the compiler."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import stat
from collections.abc import Callable
from pathlib import Path

from xrd_jax.runtime import cache_dir

LARGEST = 1 << 30  # bytes kept
SHORTEST_S = 0.05  # programs that compile faster than this are not worth a file


def enable_compilation_cache() -> Path | None:
    """Lets JAX keep what it compiles in a private folder and find it there; to be called before anything is compiled.

    A compiled program is code that will be run, so the folder must be the user's own: $XRD_JAX_CACHE, else
    $XDG_CACHE_HOME/xrd_jax, else ~/.cache/xrd_jax, and `compile` in it, which nobody else may read or write. Programs
    for one processor do not run on all, so every kind of processor has its own folder there.

    Returns:
      the folder; None where there is none to be had, where it belongs to someone else, or where $XRD_JAX_CACHE is off.
    """
    import jax

    home = cache_dir.directory()
    if home is None or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return None
    own = _private(home / "compile")
    own = own and _private(own / _processor())
    if own is None:
        return None
    _trim(own.parent)
    jax.config.update("jax_compilation_cache_dir", str(own))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SHORTEST_S)
    return own


def full_float32() -> None:
    """Lets accelerators multiply float32 in float32, where they would round factors to 10 bits (TF32) by themselves.

    Attention takes the exponential of large products, and photon noise is a hundredth of a count: both need the digits.
    What the user says in JAX_DEFAULT_MATMUL_PRECISION is left as it is; a processor has no coarser products.
    """
    import jax

    if jax.config.values.get("jax_default_matmul_precision") is None and jax.default_backend() != "cpu":
        jax.config.update("jax_default_matmul_precision", "highest")


def compiler_s() -> Callable[[], float]:
    """A clock of the seconds that the compiler, or reading what it made before, has taken since this call."""
    total = _heard()
    before = total()
    return lambda: total() - before


@functools.cache
def _heard() -> Callable[[], float]:
    """All seconds of compilation in this process since the first call."""
    import jax.monitoring

    taken: list[float] = []

    def note(event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            taken.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(note)
    return lambda: sum(taken)


def _private(path: Path) -> Path | None:
    """The folder, made if need be, if it is the user's own and no link."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
            return None
        if found.st_mode & 0o077:
            path.chmod(0o700)
    except OSError:
        return None
    return path


def _processor() -> str:
    """A name for the kind of processor: what it is called and what it can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        known = [line for line in dict.fromkeys(lines) if line.startswith(("model name", "flags", "Features"))]
    except OSError:
        known = [platform.processor()]
    return hashlib.sha256("\n".join([platform.machine(), *known]).encode()).hexdigest()[:16]


def _trim(home: Path) -> None:
    """Forgets the programs that were made longest ago, beyond `LARGEST` bytes."""
    try:
        files = [(file.stat().st_mtime, file.stat().st_size, file) for file in home.glob("*/*")]
        kept = 0
        for _, size, file in sorted(files, reverse=True):
            kept += size
            if kept > LARGEST:
                file.unlink(missing_ok=True)
    except OSError:  # another process tidies up too
        return
