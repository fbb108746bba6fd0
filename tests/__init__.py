"""Annotations of shapes and types are checked in every call of the package that a test makes."""

import os

from jaxtyping import install_import_hook

if os.environ.get("CHECK_TYPES"):
    install_import_hook("xrd_jax", "beartype.beartype")
