"""What is taken for text."""

from __future__ import annotations

from xrd_jax.io.parsing.text import is_text


def test_only_what_looks_like_text_is_text():
    assert is_text(b"1 2\r\n") and is_text("µ".encode("latin-1")) and not is_text(b"\x89HDF\r\n\x1a\n\x00")
