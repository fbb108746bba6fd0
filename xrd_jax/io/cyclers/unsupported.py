"""Cycler files that are not read here: what they are, and which export to make instead."""

from xrd_jax.io.parsing.plugins import refusing_reader

MPR = refusing_reader(
    "biologic-mpr", (b"BIO-LOGIC MODULAR FILE",), "a BioLogic binary file (.mpr); export it in EC-Lab as text (.mpt), "
    "or install a plug-in of the group xrd_jax.cyclers that reads it",
)  # fmt: skip
RES = refusing_reader(
    "arbin-res", (b"\x00\x01\x00\x00Standard Jet DB", b"\x00\x01\x00\x00Standard ACE DB"),
    "an Arbin result file (.res, an Access database); export the channel as csv or xlsx in Arbin's program",
)  # fmt: skip
XLS = refusing_reader(
    "xls", (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",), "a workbook of the old .xls kind; save it as .xlsx or csv"
)
