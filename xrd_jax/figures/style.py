"""Fonts, colours and widths of every figure, and how a figure is saved."""

import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib.image
import matplotlib.style
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from xrd_jax.files import write_bytes

WIDTH = 7.2  # inches: two columns of a journal
RED, BLUE = "#c8102e", "#0072b2"
WINDOW_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#0072b2", "#d55e00", "#999999")  # Okabe and Ito
RC_PARAMS: dict[str, Any] = {
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.titlepad": 5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "figure.dpi": 110,
    "font.size": 8,
    "hatch.linewidth": 0.4,
    "legend.fontsize": 7.5,
    "svg.fonttype": "none",  # text stays text: searchable, editable
    "svg.hashsalt": "xrd_jax",
    "xtick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.labelsize": 7.5,
    "ytick.major.width": 0.6,
}
P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in this module's style whatever the user's matplotlibrc says."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.style.context(["default", RC_PARAMS]):
            return draw(*args, **kwargs)

    return drawn


def save(figure: Figure, directory: Path, name: str) -> list[Path]:
    """Write name.png (200 dpi) and name.svg and return their paths; equal figures give equal bytes."""
    paths = []
    with matplotlib.style.context(["default", RC_PARAMS]):
        for kind, options in (("png", {"dpi": 200}), ("svg", {"dpi": 150, "metadata": {"Date": None}})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, **options)
            paths.append(directory / f"{name}.{kind}")
            write_bytes(paths[-1], buffer.getvalue())
    return paths


def read_png(path: Path) -> Float[np.ndarray, "rows columns 3"]:
    """Return a saved picture as colours from 0 to 1."""
    return matplotlib.image.imread(path)[..., :3]
