"""What names have in common: the number that counts files, the stem of the columns of a spectrum."""

import collections
import itertools
import re
from collections.abc import Sequence

from xrd_jax.io.experiment import stack_csv

MAX_PLACES, MIN_OF_A_PLACE = 12, 8  # places that a series may go through in turn, and patterns of each
RETURNS, CHANGE_SHARE = 3, 0.1  # how often each is left, and changes per pattern: what comes once is no place
MIN_STACK_COLUMNS = 8  # columns named alike that make a csv a stack


def number_pattern(names: Sequence[str]) -> str | None:
    """Return a regular expression for the number that tells file names apart; None where they differ in more."""
    if len(names) < 2:
        return None
    parts = [re.split(r"(\d+)", name) for name in names]
    if len({len(part) for part in parts}) > 1 or len({tuple(part[::2]) for part in parts}) > 1:
        return None
    changing = [i for i in range(1, len(parts[0]), 2) if len({part[i] for part in parts}) > 1]
    if len(changing) != 1 or len({int(part[changing[0]]) for part in parts}) < len(names):
        return None
    position = changing[0]
    # As little of the name as tells the number from the others in it.
    before = re.escape(re.sub(r"^.*?(?=[^\w]|_[^_]*$|[^_]*$)", "", parts[0][position - 1][-12:]))
    for pattern in (rf"{before}(\d+)", "".join(re.escape(part) for part in parts[0][:position]) + r"(\d+)"):
        matches = [re.search(pattern, name) for name in names]
        if all(match and match[1] == part[position] for match, part in zip(matches, parts, strict=True)):
            return pattern
    return None


def place_pattern(names: Sequence[str]) -> str | None:
    """Return a regular expression for a number in names that returns again and again, such as pos1, pos2, pos1, …

    Args:
      names: in the order of time.
    """
    words = [dict(re.findall(r"([A-Za-z]+)(\d+)(?!\d)", name)) for name in names]
    for word in words[0] if words else ():
        values = [found.get(word) for found in words]
        counts = collections.Counter(values)
        changes = sum(before != after for before, after in itertools.pairwise(values))
        is_few = 2 <= len(counts) <= MAX_PLACES and None not in counts and min(counts.values()) >= MIN_OF_A_PLACE
        if is_few and changes >= max(RETURNS * len(counts), CHANGE_SHARE * len(values)):
            return rf"{word}(\d+)"
    return None


def spectrum_glob(names: Sequence[str]) -> str | None:
    """Return a glob for the columns of a spectrum: '' for numbers, 'absorbance_*' for numbers on a stem, else None."""
    if sum(stack_csv.to_position(name) is not None for name in names) >= MIN_STACK_COLUMNS:
        return ""
    matches = (re.fullmatch(r"(.*?[^\d.])\d+(\.\d+)?", name) for name in names)
    stems = collections.Counter(match[1] for match in matches if match)
    [(stem, count)] = stems.most_common(1) or [("", 0)]
    return None if count < MIN_STACK_COLUMNS else stem.replace("[", "[[]") + "*"
