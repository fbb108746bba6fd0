"""Which files of some folders are read, as what, and what does each say about itself?

    python -m experiments.studies.file_formats --data=FOLDER
    python -m experiments.studies.file_formats --data=FOLDER,OTHER --out=docs/formats.md

Walks the folders and prints two tables in Markdown, patterns and cycler logs, with what the readers note, and the line
of refusal of every file that is not read. `--out` puts them between the marks of an existing document. A collection of
100 files takes seconds.
"""

from __future__ import annotations

import datetime
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from xrd_jax.errors import UserError
from xrd_jax.io import cyclers, patterns
from xrd_jax.io.cyclers.log import CyclerLog
from xrd_jax.io.parsing.text import read_head
from xrd_jax.io.patterns.pattern import Pattern
from xrd_jax.series.axis import AXIS_UNITS

_DATA = flags.DEFINE_list("data", None, "Folders of files, walked with all their folders.", required=True)
_OUT = flags.DEFINE_string("out", "", "Document whose tables are written anew between its marks; printed if empty.")

Rows = list[list[str]]
BEGIN, END = "<!-- tables: python -m experiments.studies.file_formats -->", "<!-- end of tables -->"
_NOT_DATA, _TABLES = (".md", ".toml"), ("MANIFEST.csv", "truth.csv", "values.csv", "scans.csv")  # beside the data
_UNSPECIFIC = ("text", "foreign", "brml or rasx", "stepped")  # pattern readers that also recognise cycler logs
_PATTERN_HEADINGS = (
    "file", "format", "scans", "points", "range", "maximum at", "unit", "wavelength / Å", "start", "notes",
)  # fmt: skip
_VARYING = (0, 5, 8)  # places of file, maximum and start, in which the files of a series differ
_MAX_NOTES = 200  # characters
_CYCLER_HEADINGS = ("file", "format", "rows", "time / s", "voltage / V", "current / A", "start", "notes")


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
    maximum = _format_number(float(first.axis[first.intensity.argmax()]))
    notes = "; ".join(dict.fromkeys(note for scan in scans for note in scan.notes))
    facts = [_format_number(first.wavelength), _format_time(first.start_time), notes[:_MAX_NOTES]]
    return [name, form, str(len(scans)), points, limits, maximum, kind, *facts]


def cycler_row(name: str, log: CyclerLog) -> list[str]:
    """Return one line of the table of cycler logs."""
    limits = [f"{values.min():.4g} to {values.max():.4g}" for values in (log.time, log.voltage, log.current)]
    return [name, log.format, str(log.time.size), *limits, _format_time(log.start), "; ".join(log.notes)[:_MAX_NOTES]]


def read_folders(folders: Sequence[Path]) -> tuple[Rows, Rows, Rows]:
    """Return rows of patterns, of cycler logs, and (file, why) of what is refused."""
    pattern_rows: Rows = []
    cycler_rows: Rows = []
    refused: Rows = []
    found = ((folder, path) for folder in folders for path in sorted(folder.rglob("*")))
    for folder, path in found:
        if not path.is_file() or path.suffix in _NOT_DATA or path.name in _TABLES:
            continue
        name = path.relative_to(folder.parent).as_posix()
        try:
            if is_pattern(path):
                reader = patterns.reader_of(path)
                scans = patterns.read_scans(path)
                pattern_rows.append(pattern_row(name, reader.name if reader else "", scans))
            else:
                cycler_rows.append(cycler_row(name, cyclers.read_cycler(path)))
        except UserError as error:
            refused.append([name, str(error).replace(f"{path}: ", "").replace(str(path), path.name)])
    return pattern_rows, cycler_rows, refused


def join_series(rows: Rows) -> Rows:
    """Return the rows with those of a numbered series as one: alike in all but number, maximum and start."""
    series: dict[tuple[str, ...], Rows] = {}
    for row in rows:
        kind = (re.sub(r"\d+", "0", row[0]), *(cell for i, cell in enumerate(row) if i not in _VARYING))
        series.setdefault(kind, []).append(row)
    joined: Rows = []
    for alike in series.values():
        joined += alike if len(alike) < 3 else [[f"{alike[0][0]} (of {len(alike)} alike)", *alike[0][1:]]]
    return joined


def _table(headings: tuple[str, ...], rows: Rows) -> str:
    lines = [headings, ("---",) * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def document(folders: Sequence[Path]) -> str:
    """Return the tables as Markdown."""
    pattern_rows, cycler_rows, refused = read_folders(folders)
    counts = f"{len(pattern_rows)} pattern files and {len(cycler_rows)} cycler logs are read"
    parts = [f"{counts}, {len(refused)} files refused.\n"]
    for title, headings, rows in (
        ("Patterns", _PATTERN_HEADINGS, join_series(pattern_rows)),
        ("Cycler logs", _CYCLER_HEADINGS, cycler_rows),
        ("Refused", ("file", "why, and what to do"), refused),
    ):
        parts += [f"### {title}\n", _table(headings, rows)] if rows else []
    return "\n".join(parts)


def main(_: Any) -> None:
    warnings.simplefilter("ignore")
    text = document([Path(folder) for folder in _DATA.value])
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
