"""A file as bytes and as text, whatever program wrote it."""

import contextlib
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from xrd_jax.errors import UserError

_PRINTABLE = bytes(range(0x20, 0x100)) + b"\t\n\r\f\x1a"
# Control characters become question marks: a title may hold some, and a number with one within is refused.
_CONTROLS_MARKED = bytes(byte if byte in _PRINTABLE else ord("?") for byte in range(256))
_MAX_CONTROL_SHARE = 0.02
_NUMBER = rb"[+-]?[\d.]+(?:[eE][+-]?\d+)?"
_ROW = re.compile(rb"^[ \t]*" + _NUMBER + rb"(?:[ \t,;]+" + _NUMBER + rb")+[ \t,;]*\r?$", re.MULTILINE)
HEAD_BYTES = 4096
Damage = type[BaseException] | tuple[type[BaseException], ...]
# A file that is read whole may be as long as this; the longest scans known have a hundredth of it.
MAX_BYTES = 64 * 2**20


@contextlib.contextmanager
def opening(path: Path) -> Iterator[None]:
    """Turn what the operating system says of a file into a `UserError`; what is no file is not opened."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would let the reader wait for ever
            raise UserError(f"{path}: is no file but a folder, pipe or device; name a file")
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the name and --data_root") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a file that you may read") from None


@contextlib.contextmanager
def refusing(problem: str, remedy: str, damage: Damage = Exception, spared: Damage = UserError) -> Iterator[None]:
    """Turn the damage that a library stumbles over into a `UserError`: 'problem (what the library says); remedy'."""
    try:
        yield
    except spared:
        raise
    except damage as error:
        reason = (str(error).splitlines() or [""])[0][:100] or type(error).__name__
        raise UserError(f"{problem} ({reason}); {remedy}") from None


def read_head(path: Path) -> bytes:
    """Return the first bytes of a file, by which readers recognise it; `UserError` where there is none to be read."""
    with opening(path), path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise UserError(f"{path}: the file is empty; copy or export it again")
    return head


def read_whole(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Return all bytes of a file; `UserError` where it cannot be read, or is longer than `limit`."""
    with opening(path):
        if (size := path.stat().st_size) > limit:
            sizes = f"{size / 2**20:.0f} MiB where files of this format are read up to {limit >> 20} MiB"
            raise UserError(f"{path}: has {sizes}; write one scan per file, or a stack as HDF5")
        return path.read_bytes()


def is_text(head: bytes) -> bool:
    """Return whether the bytes are text, or start with a UTF-16 mark, and are not XML.

    A title may hold control characters, as long as they are few or rows of numbers follow.
    """
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<?xml"):
        return False
    controls = len(head.translate(None, delete=_PRINTABLE))
    if not controls:
        return True
    is_lined = b"\n" in head or b"\r" in head
    return is_lined and (controls <= _MAX_CONTROL_SHARE * len(head) or len(_ROW.findall(head)) > 2)


def decode_text(data: bytes) -> str:
    """Decode to lines that end in '\\n'; numbers are ASCII, so a wrong guess of the code page only spoils words."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", errors="replace")
    else:
        data = data.translate(_CONTROLS_MARKED)
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\x1a")


def ends_within_number(rows: list[str], separator: str | None) -> bool:
    """Return whether the last number has fewer decimals than the (many) rows before it share."""
    fields = [row.strip().split(separator)[-1] for row in rows]
    decimals = [len(field.replace(",", ".").partition(".")[2]) for field in fields]
    return len(rows) >= 20 and len(set(decimals[:-1])) == 1 and decimals[-1] < decimals[0]


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts 'a_2' before 'a_10'."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
