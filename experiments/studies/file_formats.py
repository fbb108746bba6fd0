"""Which files of a folder are read, as what, and what does each say about itself?

    python -m experiments.studies.file_formats --data=FOLDER
    python -m experiments.studies.file_formats --data=FOLDER --out=docs/formats.md

Walks the folder and prints two tables in Markdown, patterns and cycler logs, with the line of refusal of every file
that is not read. `--out` puts them between the marks of an existing document. A collection of 45 files takes seconds.
"""

from __future__ import annotations

import datetime
import warnings
from pathlib import Path
from typing import Any

from absl import app, flags

from xrd_jax.errors import UserError
from xrd_jax.io import cyclers, patterns
from xrd_jax.io.cyclers.log import CyclerLog
from xrd_jax.io.parsing.text import read_head
from xrd_jax.io.patterns.pattern import Pattern
from xrd_jax.series.axis import AXIS_UNITS

_DATA = flags.DEFINE_string("data", None, "Folder of files, walked with all its folders.", required=True)
_OUT = flags.DEFINE_string("out", "", "Document whose tables are written anew between its marks; printed if empty.")

Rows = list[list[str]]
BEGIN, END = "<!-- tables: python -m experiments.studies.file_formats -->", "<!-- end of tables -->"
_UNSPECIFIC = ("text", "foreign", "brml or rasx", "stepped")  # pattern readers that also recognise cycler logs
_PATTERN_HEADINGS = ("file", "format", "scans", "points", "range", "unit", "wavelength / Å", "start", "exposure / s")
_CYCLER_HEADINGS = ("file", "format", "rows", "time / s", "voltage / V", "current / A", "start")


def is_pattern(path: Path) -> bool:
    """Return whether a pattern reader recognises the file by a signature, or no cycler reader recognises it."""
    reader = patterns.reader_of(path)
    if reader is not None and reader.name not in _UNSPECIFIC:
        return True
    head = read_head(path)
    return not any(reader.recognises(head, path) for reader in cyclers.READERS)


def _format_number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _format_time(time: datetime.datetime | None) -> str:
    return "" if time is None else time.isoformat(sep=" ", timespec="seconds")


def pattern_row(name: str, form: str, scans: tuple[Pattern, ...]) -> list[str]:
    """Return one line of the table of patterns; range and times are those of the first scan."""
    first = scans[0]
    sizes = sorted({scan.axis.size for scan in scans})
    points = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    limits = f"{first.axis[0]:.6g} to {first.axis[-1]:.6g}"
    unit = first.metadata.get("axis unit", "not stated")
    kind = unit if first.kind is None else f"{first.kind} ({AXIS_UNITS[first.kind]})"
    facts = [_format_number(first.wavelength), _format_time(first.start_time), _format_number(first.exposure)]
    return [name, form, str(len(scans)), points, limits, kind, *facts]


def cycler_row(name: str, log: CyclerLog) -> list[str]:
    """Return one line of the table of cycler logs."""
    limits = [f"{values.min():.4g} to {values.max():.4g}" for values in (log.time, log.voltage, log.current)]
    return [name, log.format, str(log.time.size), *limits, _format_time(log.start)]


def read_folder(folder: Path) -> tuple[Rows, Rows, Rows]:
    """Return rows of patterns, of cycler logs, and (file, why) of what is refused."""
    pattern_rows: Rows = []
    cycler_rows: Rows = []
    refused: Rows = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "MANIFEST.csv"):
        name = path.relative_to(folder).as_posix()
        try:
            if is_pattern(path):
                reader = patterns.reader_of(path)
                scans = patterns.read_scans(path, allow_negative=True)
                pattern_rows.append(pattern_row(name, reader.name if reader else "", scans))
            else:
                cycler_rows.append(cycler_row(name, cyclers.read_cycler(path)))
        except UserError as error:
            refused.append([name, str(error).replace(f"{path}: ", "").replace(str(path), path.name)])
    return pattern_rows, cycler_rows, refused


def _table(headings: tuple[str, ...], rows: Rows) -> str:
    lines = [headings, ("---",) * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def document(folder: Path) -> str:
    """Return the tables as Markdown."""
    pattern_rows, cycler_rows, refused = read_folder(folder)
    counts = f"{len(pattern_rows)} pattern files and {len(cycler_rows)} cycler logs are read"
    parts = [f"{counts}, {len(refused)} files refused.\n"]
    for title, headings, rows in (
        ("Patterns", _PATTERN_HEADINGS, pattern_rows),
        ("Cycler logs", _CYCLER_HEADINGS, cycler_rows),
        ("Refused", ("file", "why, and what to do"), refused),
    ):
        parts += [f"### {title}\n", _table(headings, rows)] if rows else []
    return "\n".join(parts)


def main(_: Any) -> None:
    warnings.simplefilter("ignore")
    text = document(Path(_DATA.value))
    if not _OUT.value:
        print(text)
        return
    out = Path(_OUT.value)
    before, begin, rest = out.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UserError(f"{out}: has no marks {BEGIN} and {END}; put them where the tables belong")
    out.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    app.run(main)
