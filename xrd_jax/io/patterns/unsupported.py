"""Files that are known but not read: one line says what each is and what to do with it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, NoReturn

from xrd_jax.errors import UserError
from xrd_jax.io.patterns import pattern


class Known(NamedTuple):
    """First bytes, what the file is, and what to do."""

    start: bytes
    what: str
    remedy: str


_TEXT = "export it as two-column text (.xy)"
KNOWN = (
    Known(b"RAW_1", "a Stoe WinXPOW raw file", f"in WinXPOW {_TEXT}"),
    Known(b"FI\x00\x00", "a binary Rigaku raw file", "in SmartLab Studio or PDXL save it as .ras, .rasx or text"),
    Known(b"V3RD", "a Philips .rd file", f"in the instrument's software {_TEXT} or .xrdml"),
    Known(b"V5RD", "a Philips .rd file", f"in the instrument's software {_TEXT} or .xrdml"),
    Known(b"HR-XRDScan", "a Philips .x00 file", f"in the instrument's software {_TEXT} or .xrdml"),
    Known(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Origin document", "save the sheet as .csv"),
    Known(b"\x1f\x8b", "a gzip archive", "unpack it first"),
    Known(b"BZh", "a bzip2 archive", "unpack it first"),
    Known(b"\xfd7zXZ", "an xz archive", "unpack it first"),
    Known(b"7z\xbc\xaf", "a 7-zip archive", "unpack it first"),
    Known(b"%PDF", "a PDF document", "export the numbers as two-column text"),
    Known(b"\x89PNG", "a picture (.png)", "export the numbers as two-column text, or the frame as .tif with its .poni"),
    Known(b"\xff\xd8\xff", "a picture (.jpg)", "export the numbers as two-column text"),
    Known(b"\x93NUMPY", "a numpy array", "write it as two-column text, or as NXdata in HDF5"),
    Known(b"BIO-LOGIC MODULAR FILE", "a BioLogic .mpr cycler file", "export it in EC-Lab as text (.mpt)"),
    Known(b"CPWR", "a Perkin-Elmer file", "export it as text"),
    Known(b"##TITLE", "a JCAMP-DX file", _TEXT),
)


def recognises(head: bytes) -> bool:
    """True for the signatures of `KNOWN`."""
    return any(head.startswith(known.start) for known in KNOWN)


def refuse(path: Path, allow_negative: bool = False) -> NoReturn:
    """Raises the `UserError` of the signature."""
    with path.open("rb") as file:
        head = file.read(64)
    known = next(known for known in KNOWN if head.startswith(known.start))
    raise UserError(f"{path}: {known.what}, which is not read here; {known.remedy}")


def refuse_zip(path: Path, names: list[str]) -> tuple[pattern.Pattern, ...]:
    """Raises the `UserError` of an archive that is neither .brml nor .rasx."""
    what = "an Excel workbook" if any(name.startswith("xl/") for name in names) else "a zip archive"
    remedy = "save the sheet as .csv" if what == "an Excel workbook" else "unpack it and name the files"
    raise UserError(f"{path}: {what}, which holds no pattern in a form known here; {remedy}")
