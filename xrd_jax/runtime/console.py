"""What the user sees of a command while it works: lines and progress bars."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from tqdm import tqdm

from xrd_jax.errors import printable


@dataclasses.dataclass(frozen=True)
class Console:
    """Where messages go; the default is silent."""

    echo: Callable[[str], None] = lambda line: None  # takes one line
    progress: bool = False  # whether bars are drawn, on standard error

    def __post_init__(self):
        say = self.echo
        object.__setattr__(self, "echo", lambda line: say(printable(line, kept="\n")))  # tables are texts of many lines

    def bar(self, items: Iterable[Any] | None = None, description: str = "", unit: str = "it", **options: Any) -> Any:
        """Return a progress bar: an iterator over `items`, or a context manager with `update(count)`.

        `unit` is what is counted, with a space before it; `options` are tqdm's. It vanishes at its end by default.
        """
        style = {"leave": False, "dynamic_ncols": True, "disable": not self.progress} | options
        return tqdm(items, desc=description, unit=unit, **style)


SILENT = Console()
