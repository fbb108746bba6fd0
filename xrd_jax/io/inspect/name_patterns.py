"""What names have in common: the number that counts files, the stem of the columns of a spectrum."""

import collections
import re
from collections.abc import Sequence

from xrd_jax.io.experiment import stack_csv

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


def spectrum_glob(names: Sequence[str]) -> str | None:
    """Return a glob for the columns of a spectrum: '' for numbers, 'absorbance_*' for numbers on a stem, else None."""
    if sum(stack_csv.to_position(name) is not None for name in names) >= MIN_STACK_COLUMNS:
        return ""
    matches = (re.fullmatch(r"(.*?[^\d.])\d+(\.\d+)?", name) for name in names)
    stems = collections.Counter(match[1] for match in matches if match)
    [(stem, count)] = stems.most_common(1) or [("", 0)]
    return None if count < MIN_STACK_COLUMNS else stem.replace("[", "[[]") + "*"
