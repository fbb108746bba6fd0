"""Which files of a folder are read, as what, and what does each say about itself?

    python -m experiments.studies.file_formats --data=FOLDER
    python -m experiments.studies.file_formats --data=FOLDER --out=docs/formats.md

Walks the folder and prints two tables in Markdown, patterns and cycler logs, with the line of refusal of every file
that is not read. `--out` puts them between the marks of an existing document. A collection of 45 files takes seconds.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from absl import app, flags

from xrd_jax.errors import UserError
from xrd_jax.io import cyclers, patterns
from xrd_jax.io.parsing import text as parsing_text
from xrd_jax.io.patterns import pattern
from xrd_jax.series import axis as series_axis

_DATA = flags.DEFINE_string("data", None, "Folder of files, walked with all its folders.", required=True)
_OUT = flags.DEFINE_string("out", "", "Document whose tables are written anew between its marks; printed if empty.")

BEGIN, END = "<!-- tables: python -m experiments.studies.file_formats -->", "<!-- end of tables -->"
_BY_CONTENT_ALONE = (
    "text",
    "foreign",
    "brml or rasx",
    "stepped",
)  # leave the word to a cycler reader that knows the file
_PATTERN = ("file", "format", "scans", "points", "range", "unit", "wavelength / Å", "start", "exposure / s")
_CYCLER = ("file", "format", "rows", "time / s", "voltage / V", "current / A", "start")


def is_pattern(path: Path) -> bool:
    """True where a pattern reader knows the file by a signature, or no cycler reader knows it."""
    reader = patterns.reader_of(path)
    if reader is not None and reader.name not in _BY_CONTENT_ALONE:
        return True
    head = parsing_text.head(path)
    return not any(known.recognises(head, path) for known in cyclers.READERS)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def pattern_row(name: str, form: str, scans: tuple[pattern.Pattern, ...]) -> list[str]:
    """One line of the table of patterns; range and times are those of the first scan."""
    first = scans[0]
    sizes = sorted({scan.axis.size for scan in scans})
    unit = first.metadata.get("axis unit", "not stated") if first.kind is None else series_axis.AXIS_UNITS[first.kind]
    what = f"{first.kind} ({unit})" if first.kind is not None else unit
    start = "" if first.start_time is None else first.start_time.isoformat(sep=" ", timespec="seconds")
    points = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    span = f"{first.axis[0]:.6g} to {first.axis[-1]:.6g}"
    facts = [_number(first.wavelength), start, _number(first.exposure)]
    return [name, form, str(len(scans)), points, span, what, *facts]


def cycler_row(name: str, log: Any) -> list[str]:
    """One line of the table of cycler logs."""
    spans = [f"{values.min():.4g} to {values.max():.4g}" for values in (log.time, log.voltage, log.current)]
    start = "" if log.start is None else log.start.isoformat(sep=" ", timespec="seconds")
    return [name, log.format, str(log.time.size), *spans, start]


def look(folder: Path) -> tuple[list[list[str]], list[list[str]], list[list[str]]]:
    """Rows of patterns, of cycler logs, and (file, why) of what is refused."""
    found: tuple[list[list[str]], list[list[str]], list[list[str]]] = ([], [], [])
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "MANIFEST.csv"):
        name = path.relative_to(folder).as_posix()
        try:
            if is_pattern(path):
                reader = patterns.reader_of(path)
                scans = patterns.read_scans(path, allow_negative=True)
                found[0].append(pattern_row(name, reader.name if reader else "", scans))
            else:
                found[1].append(cycler_row(name, cyclers.read_cycler(path)))
        except UserError as error:
            found[2].append([name, str(error).replace(f"{path}: ", "").replace(str(path), path.name)])
    return found


def _table(heading: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [heading, ("---",) * len(heading), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def document(folder: Path) -> str:
    """The tables as Markdown."""
    read, logs, refused = look(folder)
    parts = [f"{len(read)} pattern files and {len(logs)} cycler logs are read, {len(refused)} files refused.\n"]
    for title, heading, rows in (
        ("Patterns", _PATTERN, read),
        ("Cycler logs", _CYCLER, logs),
        ("Refused", ("file", "why, and what to do"), refused),
    ):
        parts += [f"### {title}\n", _table(heading, rows)] if rows else []
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
