"""Files that are recognised but not read: one line says what each is and what to do with it."""

from pathlib import Path
from typing import NamedTuple, NoReturn

from xrd_jax.errors import UserError


class Signature(NamedTuple):
    """First bytes, what the file is, and what to do."""

    start: bytes
    what: str
    remedy: str


_TEXT, _NUMBERS = "export it as two-column text (.xy)", "export the numbers as two-column text"
SIGNATURES = (
    Signature(b"RAW_1", "a Stoe WinXPOW raw file", f"in WinXPOW {_TEXT}"),
    Signature(b"FI\x00\x00", "a binary Rigaku raw file", "in SmartLab Studio or PDXL save it as .ras, .rasx or text"),
    Signature(b"V3RD", "a Philips .rd file", f"in the instrument's software {_TEXT} or .xrdml"),
    Signature(b"V5RD", "a Philips .rd file", f"in the instrument's software {_TEXT} or .xrdml"),
    Signature(b"HR-XRDScan", "a Philips .x00 file", f"in the instrument's software {_TEXT} or .xrdml"),
    Signature(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Origin document", "save the sheet as .csv"),
    Signature(b"\x1f\x8b", "a gzip archive", "unpack it first"),
    Signature(b"BZh", "a bzip2 archive", "unpack it first"),
    Signature(b"\xfd7zXZ", "an xz archive", "unpack it first"),
    Signature(b"7z\xbc\xaf", "a 7-zip archive", "unpack it first"),
    Signature(b"%PDF", "a PDF document", _NUMBERS),
    Signature(b"\x89PNG", "a picture (.png)", f"{_NUMBERS}, or the frame as .tif with its .poni"),
    Signature(b"\xff\xd8\xff", "a picture (.jpg)", _NUMBERS),
    Signature(b"\x93NUMPY", "a numpy array", "write it as two-column text, or as NXdata in HDF5"),
    Signature(b"BIO-LOGIC MODULAR FILE", "a BioLogic .mpr cycler file", "export it in EC-Lab as text (.mpt)"),
    Signature(b"CPWR", "a Perkin-Elmer file", "export it as text"),
    Signature(b"##TITLE", "a JCAMP-DX file", _TEXT),
)  # fmt: skip


def recognises(head: bytes) -> bool:
    """Return whether the file begins with one of `SIGNATURES`."""
    return any(head.startswith(signature.start) for signature in SIGNATURES)


def refuse(path: Path, allow_negative: bool = False) -> NoReturn:
    """Raise the `UserError` of the signature."""
    with path.open("rb") as file:
        head = file.read(64)
    signature = next(signature for signature in SIGNATURES if head.startswith(signature.start))
    raise UserError(f"{path}: {signature.what}, which is not read here; {signature.remedy}")


def refuse_zip(path: Path, names: list[str]) -> NoReturn:
    """Raise the `UserError` of an archive that is neither .brml nor .rasx."""
    what, remedy = "a zip archive", "unpack it and name the files"
    if any(name.startswith("xl/") for name in names):
        what, remedy = "an Excel workbook", "save the sheet as .csv"
    raise UserError(f"{path}: {what}, which holds no pattern in a form known here; {remedy}")
