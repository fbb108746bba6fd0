"""Annotations of shapes and types are checked in every call of the package that a test makes."""

import contextlib
import re
from pathlib import Path

from jaxtyping import install_import_hook

# A library that a checked module is the first to import is compiled anew from its source, which takes 10 s for all of
# them. So what the package imports is imported before.
PACKAGE = "\n".join(file.read_text() for file in (Path(__file__).resolve().parents[1] / "xrd_jax").rglob("*.py"))
LIBRARY = r"^(?!from (?:xrd_jax|__future__)|import xrd_jax)(?:from [\w.]+ )?import [\w., ]+$"
for line in sorted({"import beartype.door", *re.findall(LIBRARY, PACKAGE, re.MULTILINE)}):
    with contextlib.suppress(ImportError):  # an extra that is not installed
        exec(line, {})

install_import_hook("xrd_jax", "beartype.beartype")
