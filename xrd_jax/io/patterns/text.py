"""Columns of text: .xy, .xye, .dat, .csv, .chi, .txt, one scan or many, with whatever header a program writes."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.text import decode_text, ends_within_number, read_whole
from xrd_jax.io.patterns import heading, text_table
from xrd_jax.io.patterns.columns import ColumnNames, Columns, choose_columns, counts_rows, named_columns, parse_labels
from xrd_jax.io.patterns.pattern import CUT, Pattern, make_pattern, note_count, note_open_end
from xrd_jax.io.patterns.text_table import Start, Table

MAX_TEXT_BYTES = 32 * 2**20
_TAIL = 8192  # characters in which the last rows are compared
_QUOTED_NUMBER = re.compile(r'^"?[+-]?[\d.,]+"?[,;\t].*', re.MULTILINE)
_ENERGY_ONLY = re.compile(r"(?i)^[\W_]*(\w+ )?(energy|e)[\W_]*$")
MIN_ELECTRONVOLTS = 1000.0  # an energy without a unit from here on is in eV: in keV no beamline or tube has it


def read(path: Path, allow_negative: bool, columns: ColumnNames = ()) -> Iterator[Pattern]:
    """Read positions, intensities and, where there are any, their uncertainties.

    Comments start with # ' /* ! ; % // or a double quote; bare header lines and the four header lines of .chi are
    skipped. Columns are parted by blanks, tabs, commas or semicolons; decimal commas are understood. Headings say
    what the columns hold, or `columns` does; without them two or three columns are positions, intensities and
    uncertainties. A falling axis is turned round. Blocks parted by blank lines, comments or words are scans; a block
    that only repeats the first is dropped. A last row that is half written is left out, with a note.
    """
    text = decode_text(read_whole(path, MAX_TEXT_BYTES))
    if '"' in text:
        text = _without_quotes(text)
    start = text_table.find_start(text, path)
    body = text[start.offset :].rstrip()
    separator = text_table.find_separator(start, body, path)
    table = text_table.parse_table(body, start, separator, path, is_ended=text.endswith("\n"))
    if not text.endswith("\n"):
        table = _without_cut_row(table, body, separator)
    if len(table.values) < 2:
        raise UserError(f"{path}: only one row of numbers; a pattern needs at least two: export it again")
    notes = (*table.notes, *note_count(start.announced, len(table.values)))
    yield from _make_scans(table._replace(notes=notes or note_open_end(text)), start, separator, path, allow_negative,
                           columns)  # fmt: skip


def _without_quotes(text: str) -> str:
    """The text with its quoted numbers bare; a comma within quotes is a decimal mark."""

    def bare(row: re.Match[str]) -> str:
        return re.sub(r'(\d),(\d)(?=[^",;\t]*")', r"\1.\2", row[0]).replace('"', "")

    return _QUOTED_NUMBER.sub(lambda row: bare(row) if '"' in row[0] else row[0], text)


def _without_cut_row(table: Table, body: str, separator: str | None) -> Table:
    """The table without a last number that has fewer decimals than all others, since digits of it may be missing."""
    last_rows = [row for row in body[-_TAIL:].split("\n")[1:] if not text_table.is_remark(row.strip(), set())]
    if table.notes or not ends_within_number(last_rows, separator):
        return table
    notes = (f"the last row ends within a number and was left out: the file {CUT}",)
    return table._replace(values=table.values[:-1], lines=table.lines[:-1], notes=notes)


def _choose(table: Table, start: Start, separator: str | None, path: Path, wanted: ColumnNames) -> Columns:
    values = table.values
    count = values.shape[1]
    header = () if start.title else tuple(start.header)
    labels = parse_labels(header, count, separator, wanted) if header else ()
    if not labels and count > 2 and header and counts_rows(values[:, 0]):
        names = parse_labels(header, count - 1, separator, wanted)  # a data frame's index has no heading
        labels = ("", *names) if names else ()
    if wanted:
        return named_columns(wanted, labels, count, str(path))
    if (chosen := choose_columns(labels, values)) is None:
        remedy = "name the columns in the line above, or say which to take with columns = [1, 2] under [[session]]"
        raise UserError(f"{path}: row {table.lines[0]} has {count} column{'s' * (count > 1)}; {remedy}")
    return chosen


def _make_scans(
    table: Table, start: Start, separator: str | None, path: Path, allow_negative: bool, wanted: ColumnNames
) -> Iterator[Pattern]:
    chosen = _choose(table, start, separator, path, wanted)
    columns = [chosen.position, chosen.intensity] + ([] if chosen.errors is None else [chosen.errors])
    blocks, notes = _split_blocks(table, chosen.position, path)
    for block in blocks:
        remarks = table.remarks.get(block.start, []) if block.start else []
        metadata = heading.parse_metadata([*start.header, *remarks], separator)
        kind, factor = heading.find_kind(chosen.label, metadata, start.title)
        wavelength, wavelength_notes = heading.find_wavelength(metadata)
        begin, end, exposure = heading.find_times(metadata)
        values, lines = table.values[block][:, columns].T, table.lines[block]
        if len(lines) < 2:
            raise UserError(f"{path}: row {lines[0]} stands alone; a pattern needs at least two rows: mend the file")
        unit_notes: tuple[str, ...] = ()
        if kind is None and _ENERGY_ONLY.match(chosen.label) and values[0].min() >= MIN_ELECTRONVOLTS:
            kind, unit_notes = "energy", ("the energies have no unit and were taken for eV, as their size says",)
        end_notes = table.notes if block.stop == len(table.values) else ()
        if chosen.signal:
            metadata |= {"signal": chosen.signal}
        yield make_pattern(
            str(path), values[0] * factor, values[1], allow_negative or chosen.is_signed(kind),
            values[2] if len(values) == 3 else None,
            (*notes, *chosen.notes, *unit_notes, *wavelength_notes, *end_notes), lines, kind=kind,
            wavelength=wavelength, start_time=begin, end_time=end, exposure=exposure, metadata=metadata,
        )  # fmt: skip


def _split_blocks(table: Table, position: int, path: Path) -> tuple[list[slice], tuple[str, ...]]:
    """Rows of each scan; a block that only repeats the first is dropped, since nothing is lost by it."""
    values, all_rows = table.values, [slice(0, len(table.values))]
    steps = np.diff(values[:, position])
    if not table.words and ((steps > 0).all() or (steps < 0).all()):
        return all_rows, ()
    restarts = np.flatnonzero(steps * np.sign(steps[0]) <= 0) + 1
    for row, (line, words) in table.words.items():
        if row not in restarts and row != len(values):
            word = words.split()[0][:40]
            raise UserError(f"{path}: row {line}: {word!r} is not a number; mend the row or export the file again")
    if not restarts.size:
        return all_rows, ()
    repeats = np.flatnonzero(values[1:, position] == values[0, position]) + 1
    length = int(repeats[0]) if repeats.size and repeats[0] > 1 else 0
    count = len(values) // length if length else 0
    if count and np.array_equal(values, np.tile(values[:length], (count, 1)), equal_nan=True):
        return [slice(0, length)], (f"the pattern is written {count} times over; the first was taken",)
    if len(table.breaks) and np.isin(restarts, np.asarray(table.breaks)).all():
        return [slice(a, b) for a, b in itertools.pairwise([0, *restarts.tolist(), len(values)])], ()
    if length:
        fault = f"row {table.lines[length]} starts a second block that differs from the first"
        raise UserError(f"{path}: {fault}; part scans by a blank line or a comment, or keep one scan per file")
    return all_rows, ()
