"""Cycler files that are not read here: what they are, and which export to make instead."""

from pathlib import Path
from typing import NoReturn

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.plugins import Reader


def _unsupported(name: str, signatures: tuple[bytes, ...], complaint: str) -> Reader:
    def refuse(path: Path) -> NoReturn:
        raise UserError(f"{path}: {complaint}")

    return Reader(name, lambda head, _: head.startswith(signatures), refuse)


MPR = _unsupported(
    "biologic-mpr", (b"BIO-LOGIC MODULAR FILE",), "a BioLogic binary file (.mpr); export it in EC-Lab as text (.mpt), "
    "or install a plug-in of the group xrd_jax.cyclers that reads it",
)  # fmt: skip
RES = _unsupported(
    "arbin-res", (b"\x00\x01\x00\x00Standard Jet DB", b"\x00\x01\x00\x00Standard ACE DB"),
    "an Arbin result file (.res, an Access database); export the channel as csv or xlsx in Arbin's program",
)  # fmt: skip
XLS = _unsupported(
    "xls", (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",), "a workbook of the old .xls kind; save it as .xlsx or csv"
)  # fmt: skip
