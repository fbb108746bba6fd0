"""Processes that train together, on one host or many: they find each other, wait for each other, stop with each other.

Every process runs the same program on the same data; the first one alone speaks, draws and writes the run directory.
JAX is imported only where it is needed, because `start` must come before it has met any device.
"""

import os
import signal
import sys

from xrd_jax.errors import UserError

HEARTBEAT_TIMEOUT_S = 20  # a process that has given no sign of life for so long counts as dead
START_TIMEOUT_S = 120  # how long the first processes wait for the last one
SHUTDOWN_TIMEOUT_S = 24 * 3600  # how long processes that are done wait for the first, which writes the report

PEER_LOST = "another process of this training stopped; see what it said, then start all again: they resume"
# What the runtime writes when a process or the coordinator is gone.
_FATAL_MESSAGES = (
    b"coordination_service", b"JAX distributed service detected fatal errors", b"terminate called", b"error: "
)  # fmt: skip


def start(coordinator: str, process_id: int, process_count: int) -> int:
    """Join the other processes, before JAX has met any device; return how many they are.

    Args:
      coordinator: host:port of the first process; '' to take all three from Slurm, Kubernetes or MPI.
      process_id, process_count: which of how many this one is; -1 and 0 where they are not given.

    Raises:
      UserError: incomplete flags, no cluster to be found, or processes that do not come.
    """
    given = [bool(coordinator), process_id >= 0, process_count > 0]
    if any(given) and not all(given):
        raise UserError("--coordinator=HOST:PORT, --process_id=I and --process_count=N belong together; give all three")
    if all(given) and (not coordinator.rpartition(":")[2].isdigit() or process_id >= process_count):
        raise UserError(
            f"--coordinator={coordinator} --process_id={process_id} --process_count={process_count}: the coordinator "
            "is HOST:PORT of the first process, and ids count from 0 to one less than the processes"
        )
    _filter_stderr()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import jax
    from jax._src import distributed

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(
            coordinator or None, process_count or None, process_id if coordinator else None,
            initialization_timeout=START_TIMEOUT_S, heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_S,
            shutdown_timeout_seconds=SHUTDOWN_TIMEOUT_S,
        )  # fmt: skip
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:160]
        raise UserError(
            f"--distributed: the processes did not meet ({reason}); outside Slurm and Kubernetes give every one "
            "--coordinator=HOST:PORT --process_id=I --process_count=N, with a port that is free"
        ) from None
    return distributed.global_state.num_processes


def is_primary() -> bool:
    """Return whether this process is the one that speaks, draws and writes; so is one that trains alone."""
    import jax

    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Return when every process has come to the point `name`."""
    import jax

    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def is_peer_failure(error: BaseException) -> bool:
    """Return whether an error means that another process is gone, and not that something is wrong here."""
    import jax

    is_runtimes = isinstance(error, jax.errors.JaxRuntimeError) or "Gloo" in str(error)
    return jax.distributed.is_initialized() and is_runtimes


def stop() -> None:
    """Report in one line that another process is gone, and end this one without waiting for any."""
    os.write(2, f"error: {PEER_LOST}\n".encode())
    os._exit(2)


def _filter_stderr() -> None:
    """Have a helper process turn the runtime's fatal messages into one line.

    Where a process dies, the runtime ends the others from threads of its own, with a page of addresses that no handler
    could replace. So what it writes to descriptor 2 goes through a pipe; Python's own standard error stays.
    """
    if not hasattr(os, "fork"):
        return
    sys.stderr.flush()
    read_end, write_end = os.pipe()
    stderr = os.dup(2)
    if os.fork() == 0:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.close(write_end)
        _forward_until_fatal(read_end, stderr)
        os._exit(0)
    os.close(read_end)
    os.dup2(write_end, 2)
    os.close(write_end)
    sys.stderr = os.fdopen(stderr, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")


def _forward_until_fatal(read_end: int, stderr: int) -> None:
    """Pass lines on until the first fatal one, which `PEER_LOST` replaces; drop what follows."""
    is_over = False
    with os.fdopen(read_end, "rb") as lines:
        for line in lines:
            if is_over:
                continue
            is_over = any(message in line for message in _FATAL_MESSAGES)
            os.write(stderr, f"error: {PEER_LOST}\n".encode() if is_over else line)
