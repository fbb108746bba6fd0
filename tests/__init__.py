"""Annotations of shapes and types are checked in every call of the package that a test makes."""

import importlib

from jaxtyping import install_import_hook

# What a checked module is the first to import is compiled anew from its source, so libraries come before: it saves 8 s.
for library in (
    "beartype.door", "flax.linen", "h5py", "jax", "matplotlib.figure", "matplotlib.style", "optax",
    "orbax.checkpoint.experimental.v1", "scipy.interpolate", "scipy.stats", "tensorboardX",
):  # fmt: skip
    importlib.import_module(library)
install_import_hook("xrd_jax", "beartype.beartype")
