"""Compiled programs kept between launches, so that only the first one waits for the compiler."""

import functools
import hashlib
import os
import platform
from collections.abc import Callable
from pathlib import Path

from xrd_jax.runtime.cache_dir import cache_directory, private_folder

MAX_CACHE_BYTES = 1 << 30
MIN_COMPILE_S = 0.05  # programs that compile faster than this are not worth a file


def enable_compilation_cache() -> Path | None:
    """Let JAX keep what it compiles in a private folder and find it there; call it before anything is compiled.

    A compiled program is code that will be run: nobody else may write there, every kind of processor has a folder.

    Returns:
      the folder; None where there is none to be had, where it belongs to someone else, or where $XRD_JAX_CACHE is off.
    """
    import jax

    home = cache_directory()
    if home is None or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return None
    shared = private_folder(home / "compile")
    folder = shared and private_folder(shared / _processor_id())
    if shared is None or folder is None:
        return None
    _trim(shared)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_S)
    return folder


def full_float32() -> None:
    """Let accelerators multiply float32 in float32, where they would round factors to 10 bits (TF32) by themselves.

    Attention takes the exponential of large products, and photon noise is a hundredth of a count: both need the digits.
    What the user sets in JAX_DEFAULT_MATMUL_PRECISION is left as it is; a processor has no coarser products.
    """
    import jax

    if jax.config.values.get("jax_default_matmul_precision") is None and jax.default_backend() != "cpu":
        jax.config.update("jax_default_matmul_precision", "highest")


def compile_clock() -> Callable[[], float]:
    """Return a clock of the seconds that the compiler, or reading what it made before, has taken since this call."""
    durations = _compile_durations()
    before = sum(durations)
    return lambda: sum(durations) - before


@functools.cache
def _compile_durations() -> list[float]:
    """Return a list that grows by the seconds of every compilation in this process from the first call on."""
    import jax.monitoring

    durations: list[float] = []

    def note(event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            durations.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(note)
    return durations


def _processor_id() -> str:
    """Return a name for the kind of processor, made of its model and its instruction sets."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        traits = [line for line in dict.fromkeys(lines) if line.startswith(("model name", "flags", "Features"))]
    except OSError:
        traits = [platform.processor()]
    return hashlib.sha256("\n".join([platform.machine(), *traits]).encode()).hexdigest()[:16]


def _trim(folder: Path) -> None:
    """Delete the programs that were made longest ago, beyond `MAX_CACHE_BYTES`."""
    try:
        files = [(file.stat().st_mtime, file.stat().st_size, file) for file in folder.glob("*/*")]
        total = 0
        for _, size, file in sorted(files, reverse=True):
            total += size
            if total > MAX_CACHE_BYTES:
                file.unlink(missing_ok=True)
    except OSError:  # another process tidies up too
        return
