"""The process that the program runs in: what must be settled before the first library is loaded."""

import os
import sys
import time

_IMPORTED_AT = time.perf_counter()
_MALLOC_TUNABLES = {"hugetlb": 1, "mmap_max": 0, "trim_threshold": 1 << 36, "top_pad": 1 << 28}


def allocator_environment() -> dict[str, str]:
    """Return variables that make glibc's allocator keep large buffers and ask for huge pages; none elsewhere.

    A training step on a CPU allocates and frees some 100 MB of activations. By default glibc hands them back to the
    kernel, which must clear them page by page at every step; keeping them trains about a fifth faster.
    """
    if sys.platform != "linux":
        return {}
    return {"GLIBC_TUNABLES": ":".join(f"glibc.malloc.{name}={value}" for name, value in _MALLOC_TUNABLES.items())}


def restart_with_allocator() -> None:
    """Start this process anew with `allocator_environment`, unless the user has set those variables."""
    variables = allocator_environment()
    if variables and not variables.keys() & os.environ.keys():
        os.execve(sys.executable, sys.orig_argv, os.environ | variables)


def age() -> float:
    """Return the seconds since this process was started, or since this import where the system does not tell."""
    try:
        with open("/proc/self/stat", encoding="ascii") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return time.perf_counter() - _IMPORTED_AT


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
