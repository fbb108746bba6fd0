"""Annotations of shapes and types are checked in every call of the package that a test makes."""

from jaxtyping import install_import_hook

install_import_hook("xrd_jax", "beartype.beartype")
