"""SPEC data files: scans that begin with `#S`, whose columns `#L` names, with any number of counters.

Headings choose the columns as in other texts; where they do not tell, the first column is the position and the last
the counter, as SPEC writes them.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.dates import parse_datetime
from xrd_jax.io.parsing.text import MAX_BYTES, decode_text, read_whole
from xrd_jax.io.patterns import heading
from xrd_jax.io.patterns.columns import ColumnNames, Columns, choose_columns, named_columns
from xrd_jax.io.patterns.pattern import CUT, Scan, UnfinishedScan, make_pattern, note_count

LINE = rb"^#S +\d+ +\S"
_SCAN = re.compile(r"^#S +(\d+) *(.*)$", re.MULTILINE)
_KEY = re.compile(r"^#(\w+) +(.*)$", re.MULTILINE)
_STEPS = re.compile(r"[ad]\d?scan\b.*?\s(\d{1,7})\s+\S+\s*$")  # ascan tth 10 12 4 1: of 4 steps, so of 5 points
_SPECTRUM = re.compile(r"^@.*(?:\\\n.*)*\n?", re.MULTILINE)  # of a multichannel analyser, over several lines
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|nan|[+-]?inf", re.IGNORECASE)


def read(path: Path, allow_negative: bool, columns: ColumnNames = ()) -> Iterator[Scan]:
    """Read every scan."""
    text = decode_text(read_whole(path, MAX_BYTES // 2))
    marks = list(_SCAN.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    for mark, end in zip(marks, ends, strict=False):
        yield _read_scan(text[mark.end() : end], mark, path, allow_negative, columns)


def _read_scan(body: str, mark: re.Match[str], path: Path, allow_negative: bool, wanted: ColumnNames) -> Scan:
    source, keys = f"{path}: scan {mark[1]}", dict(_KEY.findall(body))
    labels = [label.strip() for label in re.split(r"\t| {2,}", keys.get("L", "").strip())]
    rows = [line.split() for line in _SPECTRUM.sub("", body).split("\n") if line.strip() and line.lstrip()[0] != "#"]
    notes: tuple[str, ...] = ()
    if rows and len(rows[-1]) != len(rows[0]) and not body.endswith("\n"):
        rows, notes = rows[:-1], (f"the last row is half written and was left out: the file {CUT}",)
    if len(rows) < 2:
        return UnfinishedScan(f"scan {mark[1]} ({mark[2][:40]}) has {len(rows)} points")
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]) or not all(map(_NUMBER.fullmatch, row)):
            raise UserError(f"{source}: point {number} is no row of {len(rows[0])} numbers; copy or export it again")
    values = np.array(rows, np.float64)
    labels = labels if len(labels) == values.shape[1] else []
    chosen = _choose(labels, values, wanted, source)
    announced = _STEPS.match(mark[2])
    if announced and len(values) <= int(announced[1]):
        notes = (*notes, *note_count(int(announced[1]) + 1, len(values), "points"))
    if "aborted" in keys.get("C", ""):
        notes = (*notes, f"the scan was aborted: it {CUT}")
    metadata = {"command": mark[2], "signal": chosen.signal, "position": chosen.label, "header": body[:2000].strip()}
    kind, factor = heading.find_kind(chosen.label, {})
    pattern = make_pattern(
        source, values[:, chosen.position] * factor, values[:, chosen.intensity],
        allow_negative or chosen.is_signed(kind), None if chosen.errors is None else values[:, chosen.errors],
        (*chosen.notes, *notes), kind=kind, start_time=parse_datetime(keys.get("D", "")), metadata=metadata,
    )  # fmt: skip
    return UnfinishedScan(f"scan {mark[1]} is not measured to its end", pattern) if notes else pattern


def _choose(labels: list[str], values: np.ndarray, wanted: ColumnNames, source: str) -> Columns:
    count = values.shape[1]
    if wanted:
        return named_columns(wanted, labels, count, source)
    chosen = choose_columns(labels, values) if labels else None
    if chosen is None and count < 2:
        raise UserError(f"{source}: has one column; a pattern needs a position and an intensity: leave it out")
    ends = (labels[0], labels[-1]) if labels else ("", "")
    return chosen or Columns(
        0, count - 1, None, *ends, ("its first and its last column were taken, as SPEC writes them",)
    )
