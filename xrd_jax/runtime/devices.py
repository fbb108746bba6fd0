"""Processor cores as devices."""

import os

import jax

from xrd_jax.runtime.process import cores


def emulate(count: int) -> None:
    """Make the processor `count` devices, at most one per core; call it before JAX has met any device.

    Two cores that work on their own halves of a batch are faster than two that share every operation, by a fifth to
    two fifths of a training step (docs/benchmarks). What the user sets in JAX_NUM_CPU_DEVICES or XLA_FLAGS stays.
    """
    is_set = "JAX_NUM_CPU_DEVICES" in os.environ or "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if count > 1 and not is_set:
        jax.config.update("jax_num_cpu_devices", min(count, cores()))
