"""What the user sees of a command while it works: lines and progress bars."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from tqdm import tqdm


@dataclasses.dataclass(frozen=True)
class Console:
    """Where messages go; the default is silent.

    Attributes:
      echo: takes one line.
      progress: draw progress bars on standard error.
    """

    echo: Callable[[str], None] = lambda line: None
    progress: bool = False

    def bar(self, items: Iterable[Any] | None = None, description: str = "", unit: str = "it", **options: Any) -> Any:
        """Return a progress bar: an iterator over `items`, or a context manager with `update(count)`.

        It vanishes at its end, unless leave=True.

        Args:
          unit: what is counted, with a space before it, such as ' patterns'.
          **options: of tqdm, such as total=.
        """
        style = {"leave": False, "dynamic_ncols": True, "disable": not self.progress} | options
        return tqdm(items, desc=description, unit=unit, **style)


SILENT = Console()
