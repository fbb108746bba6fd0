"""Files that are recognised but not read: one line says what each is and what to do with it."""

from pathlib import Path
from typing import NoReturn

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.plugins import refusing_reader

NAME = "foreign"
_TEXT, _NUMBERS = "export it as two-column text (.xy)", "export the numbers as two-column text"
_UNPACK = "unpack it first"
# First bytes, what the file is, and what to do.
_SIGNATURES = (
    (b"RAW_1", "a Stoe WinXPOW raw file", f"in WinXPOW {_TEXT}"),
    (b"FI\x00\x00", "a binary Rigaku raw file", "in SmartLab Studio or PDXL save it as .ras, .rasx or text"),
    (b"V3RD", "a Philips .rd file", f"in the instrument's software {_TEXT} or .xrdml"),
    (b"V5RD", "a Philips .rd file", f"in the instrument's software {_TEXT} or .xrdml"),
    (b"HR-XRDScan", "a Philips .x00 file", f"in the instrument's software {_TEXT} or .xrdml"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Origin document", "save the sheet as .csv"),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ", "an xz archive", _UNPACK),
    (b"7z\xbc\xaf", "a 7-zip archive", _UNPACK),
    (b"%PDF", "a PDF document", _NUMBERS),
    (b"\x89PNG", "a picture (.png)", f"{_NUMBERS}, or the frame as .tif with its .poni"),
    (b"\xff\xd8\xff", "a picture (.jpg)", _NUMBERS),
    (b"\x93NUMPY", "a numpy array", "write it as two-column text, or as NXdata in HDF5"),
    (b"BIO-LOGIC MODULAR FILE", "a BioLogic .mpr cycler file", "export it in EC-Lab as text (.mpt)"),
    (b"CPWR", "a Perkin-Elmer file", "export it as text"),
    (b"##TITLE", "a JCAMP-DX file", _TEXT),
)
READERS = tuple(
    refusing_reader(NAME, (start,), f"{what}, which is not read here; {remedy}") for start, what, remedy in _SIGNATURES
)


def refuse_zip(path: Path, names: list[str]) -> NoReturn:
    """Raise the `UserError` of an archive that is neither .brml nor .rasx."""
    what, remedy = "a zip archive", "unpack it and name the files"
    if any(name.startswith("xl/") for name in names):
        what, remedy = "an Excel workbook", "save the sheet as .csv"
    raise UserError(f"{path}: {what}, which holds no pattern in a form known here; {remedy}")
