"""Powder CIF: a loop of intensities, with positions beside them or as start and step, named as in the pdCIF dictionary.

Standard uncertainties stand in brackets, '100(10)' or '1.23(4)'; wavelengths are in Å.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.dates import parse_datetime
from xrd_jax.io.parsing.text import MAX_BYTES, decode_text, read_whole
from xrd_jax.io.patterns.pattern import (
    CUT,
    Scan,
    UnfinishedScan,
    make_pattern,
    note_count,
    note_open_end,
    parse_positive,
    strip_texts,
)

# Tags of intensities and of positions with their kinds, what was measured before what was processed.
_INTENSITIES = (
    "_pd_meas_counts_total", "_pd_meas_intensity_total", "_pd_proc_intensity_total", "_pd_proc_intensity_net",
    "_pd_meas_counts", "_pd_meas_intensity",
)  # fmt: skip
_POSITIONS = {
    "_pd_meas_2theta_scan": "two_theta", "_pd_meas_2theta_corrected": "two_theta",
    "_pd_proc_2theta_corrected": "two_theta", "_pd_proc_d_spacing": "d", "_pd_proc_energy_incident": "energy",
}  # fmt: skip
_RANGES = ("_pd_meas_2theta_range_{}", "_pd_proc_2theta_range_{}", "_pd_meas_angle_2theta_range_{}")
LINES = (re.compile(rb"^\s*data_\S+\s*$", re.MULTILINE | re.IGNORECASE), re.compile(rb"^_[A-Za-z]\w+", re.MULTILINE))
_TEXT_FIELD = re.compile(r"^;.*?^;", re.MULTILINE | re.DOTALL)
_TOKEN = re.compile(r"'[^'\n]*'(?=\s|$)|\"[^\"\n]*\"(?=\s|$)|#[^\n]*|[^\s#]\S*")
_VALUE = re.compile(r"([+-]?\d*\.?\d*(?:[eE][+-]?\d{1,4})?)(?:\((\d{1,9})\))?")

Loop = dict[str, list[str]]


def recognises(head: bytes) -> bool:
    """Return whether the text is a CIF: a line `data_NAME` and lines that begin with a tag."""
    return all(line.search(head) for line in LINES)


def read(path: Path, allow_negative: bool) -> Iterator[Scan]:
    """Read the pattern of every data block that has one."""
    text = _TEXT_FIELD.sub("?", decode_text(read_whole(path, MAX_BYTES // 2)))
    has_pattern = False
    for name, items, loops in _parse_blocks(text):
        loop = next((loop for loop in loops if any(tag in loop for tag in _INTENSITIES)), None)
        if loop is not None:
            has_pattern = True
            if len(next(loop[tag] for tag in _INTENSITIES if tag in loop)) < 2:
                yield UnfinishedScan(f"{name} has no intensities")
            else:
                yield _read_block(f"{path}: {name}", items, loops, loop, allow_negative, note_open_end(text))
    if not has_pattern:
        fault = "a CIF without a powder pattern (_pd_meas_counts_total or _pd_proc_intensity_total)"
        raise UserError(f"{path}: {fault}; leave it out, or export the pattern as two-column text")


def _parse_blocks(text: str) -> Iterator[tuple[str, dict[str, str], list[Loop]]]:
    """Name, single items and loops of each data block."""
    tokens = [token for token in _TOKEN.findall(text) if token[0] != "#"]
    name, items, loops = "", dict[str, str](), list[Loop]()
    i = 0
    while i < len(tokens):
        token = tokens[i].lower()
        i += 1
        if token.startswith("data_"):
            if name:
                yield name, items, loops
            name, items, loops = token, {}, []
        elif token == "loop_":
            first = i
            while i < len(tokens) and tokens[i][0] == "_":
                i += 1
            tags = [tag.lower().replace(".", "_") for tag in tokens[first:i]]
            first = i
            while i < len(tokens) and tokens[i][0] != "_" and not tokens[i].lower().startswith(("loop_", "data_")):
                i += 1
            count = (i - first) // len(tags) if tags else 0
            loops.append({tag: tokens[first + k : first + count * len(tags) : len(tags)] for k, tag in enumerate(tags)})
        elif token[0] == "_" and i < len(tokens):
            items[token.replace(".", "_")] = tokens[i].strip("'\"")
            i += 1
    if name:
        yield name, items, loops


def _read_block(
    source: str, items: dict[str, str], loops: Sequence[Loop], loop: Loop, allow_negative: bool, notes: tuple[str, ...]
) -> Scan:
    tag = next(tag for tag in _INTENSITIES if tag in loop)
    intensity, errors = _parse_values(loop[tag], f"{source}: {tag}")
    position = next((tag for tag in _POSITIONS if tag in loop), None)
    if position is not None:
        axis, kind = _parse_values(loop[position], f"{source}: {position}")[0], _POSITIONS[position]
    else:
        found = (_limits(items, form, source) for form in _RANGES)
        kind, limits = "two_theta", next(filter(None, found), None)
        if limits is None:
            raise UserError(f"{source}: states no positions of its intensities; export it as two-column text")
        axis = limits[0] + limits[2] * np.arange(intensity.size)
        if abs(axis[-1] - limits[1]) > 0.5 * limits[2]:
            notes = (f"the range ends at {limits[1]:g} but the points at {axis[-1]:g}: the file {CUT}",)
    stated = items.get("_pd_meas_number_of_points", items.get("_pd_proc_number_of_points", ""))
    count = int(stated) if re.fullmatch(r"[0-9]{1,9}", stated) else None
    notes = (*notes, *note_count(count, intensity.size, "points"))
    is_given = ~(np.isnan(intensity) | np.isnan(axis))
    if not is_given.all():
        notes = (*notes, f"{np.count_nonzero(~is_given)} points without a value were left out")
    if "_pd_proc_ls_weight" in loop and errors is None:
        weights = _parse_values(loop["_pd_proc_ls_weight"], f"{source}: _pd_proc_ls_weight")[0]
        errors = np.where(weights > 0, 1 / np.sqrt(np.where(weights > 0, weights, 1.0)), np.nan)
        errors = errors if np.isfinite(errors[is_given]).all() else None
    return make_pattern(
        source, axis[is_given], intensity[is_given], allow_negative or tag.endswith("_net"),
        None if errors is None else errors[is_given], notes, kind=kind, wavelength=_wavelength(items, loops, source),
        start_time=parse_datetime(items.get("_pd_meas_datetime_initiated", "")), metadata=strip_texts(items),
    )  # fmt: skip


def _limits(items: dict[str, str], form: str, source: str) -> tuple[float, float, float] | None:
    """Start, end and step of an even axis, or None."""
    tags = [form.format(key) for key in ("min", "max", "inc")]
    values = [_parse_values([items.get(tag, "?")], f"{source}: {tag}")[0][0] for tag in tags]
    return (values[0], values[1], values[2]) if np.isfinite(values).all() and values[2] > 0 else None


def _parse_values(texts: Sequence[str], source: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Numbers, NaN for '?' and '.', and their uncertainties where all have one."""
    values, errors = np.full(len(texts), np.nan), np.full(len(texts), np.nan)
    for i, text in enumerate(texts):
        if text in ("?", "."):
            continue
        match = _VALUE.fullmatch(text)
        if match is None or not match[1].strip("+-.eE"):
            raise UserError(f"{source}: value {i + 1} ('{text[:40]}') is no number; export the file again")
        values[i] = float(match[1])
        if match[2]:
            mantissa, _, exponent = match[1].lower().partition("e")
            decimals = len(mantissa.partition(".")[2])
            errors[i] = float(f"{match[2]}e{int(exponent or 0) - decimals}")
    return values, errors if np.isfinite(errors[np.isfinite(values)]).all() and len(texts) else None


def _wavelength(items: dict[str, str], loops: Sequence[Loop], source: str) -> float | None:
    """The wavelength, or the mean of several in their weights."""
    tag = "_diffrn_radiation_wavelength"
    for key in (tag, f"{tag}_wavelength"):
        if key in items:
            return parse_positive(_VALUE.match(items[key])[1] or None)  # type: ignore[index]
    loop = next((loop for loop in loops if tag in loop), None)
    if loop is None:
        return None
    values = _parse_values(loop[tag], f"{source}: {tag}")[0]
    weights = _parse_values(loop.get(f"{tag}_wt", ["1"] * values.size), f"{source}: {tag}_wt")[0]
    total = float(weights.sum())
    return parse_positive(float((values * weights).sum()) / total) if total > 0 else None
