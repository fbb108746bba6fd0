"""Columns of text: .xy, .xye, .dat, .csv, .chi, .txt, one scan or many, with whatever header a program writes."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.text import decode_text, ends_within_number, read_whole
from xrd_jax.io.patterns import heading, text_table
from xrd_jax.io.patterns.pattern import Pattern, make_pattern, note_open_end
from xrd_jax.io.patterns.text_table import Start, Table

MAX_TEXT_BYTES = 32 * 2**20
_TAIL = 8192  # characters in which the last rows are compared


def read(path: Path, allow_negative: bool) -> Iterator[Pattern]:
    """Read positions, intensities and, where there are any, their uncertainties.

    Comments start with # ' /* ! ; % // or a double quote; bare header lines and the four header lines of .chi are
    skipped. Columns are parted by blanks, tabs, commas or semicolons; decimal commas are understood. Two or three
    columns are positions, intensities and uncertainties; of more, headings must say which. A falling axis is turned
    round. Blocks parted by blank lines or comments are scans; a block that only repeats the first is dropped.
    """
    text = decode_text(read_whole(path, MAX_TEXT_BYTES))
    start = text_table.find_start(text, path)
    body = text[start.offset :].rstrip()
    separator = text_table.find_separator(start, path)
    table = text_table.parse_table(body, start, separator, path)
    if start.announced is not None and start.announced != len(table.values):
        counts = f"{start.announced} rows but there are {len(table.values)}"
        raise UserError(f"{path}: the header announces {counts}; copy the file again")
    if len(table.values) < 2:
        raise UserError(f"{path}: only one row of numbers; a pattern needs at least two: export it again")
    if not text.endswith("\n"):
        last_rows = [row for row in body[-_TAIL:].split("\n")[1:] if not text_table.is_remark(row.strip(), set())]
        if ends_within_number(last_rows, separator):
            fault = f"row {table.lines[-1]} ends within a number"
            raise UserError(f"{path}: {fault}; the file is cut: copy or export it again")
    yield from _make_scans(table, start, note_open_end(text), path, allow_negative)


def _make_scans(
    table: Table, start: Start, end_notes: tuple[str, ...], path: Path, allow_negative: bool
) -> Iterator[Pattern]:
    count, is_chi = table.values.shape[1], start.announced is not None
    labels = heading.parse_labels(start.header, count) if start.header and not is_chi else []
    chosen = heading.choose_columns(labels, count)
    if chosen is None:
        remedy = "keep position, intensity and, if known, its uncertainty, or name the columns in the line above"
        raise UserError(f"{path}: row {table.lines[0]} has {count} column{'s' * (count > 1)}; {remedy}")
    columns = [0, chosen.intensity] + ([] if chosen.errors is None else [chosen.errors])
    blocks, notes = _split_blocks(table, path)
    for block in blocks:
        remarks = table.remarks.get(block.start, []) if block.start else []
        metadata = heading.parse_metadata([*start.header, *remarks])
        kind, factor = heading.find_kind(labels, metadata, start.header[1] if is_chi else "")
        wavelength, wavelength_notes = heading.find_wavelength(metadata)
        begin, end, exposure = heading.find_times(metadata)
        values, lines = table.values[block][:, columns].T, table.lines[block]
        if len(lines) < 2:
            raise UserError(f"{path}: row {lines[0]} stands alone; a pattern needs at least two rows: mend the file")
        yield make_pattern(
            str(path), values[0] * factor, values[1], allow_negative, values[2] if len(values) == 3 else None,
            (*notes, *chosen.notes, *wavelength_notes, *end_notes), lines, kind=kind, wavelength=wavelength,
            start_time=begin, end_time=end, exposure=exposure, metadata=metadata,
        )  # fmt: skip


def _split_blocks(table: Table, path: Path) -> tuple[list[slice], tuple[str, ...]]:
    """Rows of each scan; a block that only repeats the first is dropped, since nothing is lost by it."""
    values, all_rows = table.values, [slice(0, len(table.values))]
    steps = np.diff(values[:, 0])
    if (steps > 0).all() or (steps < 0).all():
        return all_rows, ()
    repeats = np.flatnonzero(values[1:, 0] == values[0, 0]) + 1
    length = int(repeats[0]) if repeats.size and repeats[0] > 1 else 0
    count = len(values) // length if length else 0
    if count and np.array_equal(values, np.tile(values[:length], (count, 1)), equal_nan=True):
        return [slice(0, length)], (f"the pattern is written {count} times over; the first was taken",)
    restarts = np.flatnonzero(steps * np.sign(steps[0]) <= 0) + 1
    if len(table.breaks) and np.isin(restarts, np.asarray(table.breaks)).all():
        return [slice(a, b) for a, b in itertools.pairwise([0, *restarts.tolist(), len(values)])], ()
    if length:
        fault = f"row {table.lines[length]} starts a second block that differs from the first"
        raise UserError(f"{path}: {fault}; part scans by a blank line or a comment, or keep one scan per file")
    return all_rows, ()
