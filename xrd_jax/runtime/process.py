"""The process that the program runs in: what must be settled before the first library is loaded."""

from __future__ import annotations

import os
import sys
import time

_LOADED = time.perf_counter()

_KEPT = {"hugetlb": 1, "mmap_max": 0, "trim_threshold": 1 << 36, "top_pad": 1 << 28}


def environment() -> dict[str, str]:
    """Variables for an allocator that keeps large buffers and asks for huge pages; none where it is not glibc's.

    A training step on a CPU allocates and frees some 100 MB of activations. By default glibc hands them back to the
    kernel, which must clear them page by page at every step; keeping them trains about a fifth faster.
    """
    if sys.platform != "linux":
        return {}
    return {"GLIBC_TUNABLES": ":".join(f"glibc.malloc.{name}={value}" for name, value in _KEPT.items())}


def restart() -> None:
    """Starts this process anew with `environment`, unless the user's own settings are there."""
    wanted = environment()
    if wanted and not wanted.keys() & os.environ.keys():
        os.execve(sys.executable, sys.orig_argv, os.environ | wanted)


def age() -> float:
    """Seconds since this process was started, `restart` included; where the system does not say, since it came here."""
    try:
        with open("/proc/self/stat", encoding="ascii") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return time.perf_counter() - _LOADED


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
