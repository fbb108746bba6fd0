"""Cycler files that are not read here: what they are, and which export to make instead."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from xrd_jax.errors import UserError

_JET = (b"\x00\x01\x00\x00Standard Jet DB", b"\x00\x01\x00\x00Standard ACE DB")


def is_mpr(head: bytes) -> bool:
    return head.startswith(b"BIO-LOGIC MODULAR FILE")


def is_res(head: bytes) -> bool:
    return head.startswith(_JET)


def is_xls(head: bytes) -> bool:
    return head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")


def refuse_mpr(path: Path) -> NoReturn:
    raise UserError(
        f"{path}: a BioLogic binary file (.mpr); export it in EC-Lab as text (.mpt), or install a plug-in of the group "
        "xrd_jax.cyclers that reads it"
    )


def refuse_res(path: Path) -> NoReturn:
    raise UserError(
        f"{path}: an Arbin result file (.res, an Access database); export the channel as csv or xlsx in Arbin's program"
    )


def refuse_xls(path: Path) -> NoReturn:
    raise UserError(f"{path}: a workbook of the old .xls kind; save it as .xlsx or csv")
