"""The figure of what is known of the simulated cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from xrd_jax.config.cell import Cell
from xrd_jax.figures import panels as figures_panels
from xrd_jax.figures import run, style
from xrd_jax.information import fisher
from xrd_jax.physics import windows as physics_windows
from xrd_jax.series import axis as series_axis

LEAST_SHARE = 0.005  # windows with less are not labelled


@style.styled
def figure(cell: Cell, known: fisher.Information) -> Figure:
    """The patterns, and under them for each target how much of its information lies where on the axis."""
    targets, windows = list(known.per_frame), physics_windows.windows(cell)
    drawn = Figure((style.WIDTH, 1.9 + 1.35 * len(targets)), layout="constrained")
    panels = drawn.subplots(1 + len(targets), 1, sharex=True, height_ratios=[1.25] + [1.0] * len(targets))
    edges = series_axis.channel_edges(known.centres)
    _patterns(panels[0], known)
    width = np.diff(edges)
    for number, (axes, target) in enumerate(zip(panels[1:], targets, strict=True)):
        density = 100.0 * fisher.curve(known, target) / width
        carrying = np.where(fisher.carriers(known, target), density, 0.0)
        axes.stairs(density, edges, fill=True, color="0.75", linewidth=0, label="the other 10 %")
        axes.stairs(carrying, edges, fill=True, color=style.BLUE, linewidth=0, label="channels that carry 90 %")
        right = axes.twinx()
        right.plot(known.centres, known.mutual[target], color=style.RED, linewidth=0.7)
        right.set_ylim(0.0, 1.3 * known.mutual[target].max())
        right.set_ylabel("One channel (bit)", color=style.RED)
        right.tick_params(axis="y", labelcolor=style.RED)
        axes.set(ylabel="Share (% per °)", ylim=(0.0, 1.3 * density.max()))
        axes.set_title(figures_panels.caption(target, ""), loc="left")
        _labels(axes, windows, fisher.shares(known, target, windows))
        if number == 0:
            handles, names = axes.get_legend_handles_labels()
    drawn.legend(
        [*handles[::-1], right.lines[0]], [*names[::-1], "what one channel alone tells"], loc="outside lower center",
        ncols=3, frameon=False,
    )  # fmt: skip
    panels[-1].set(xlabel="2θ (°)", xlim=(edges[0], edges[-1]))
    figures_panels.mark(panels[0], physics_windows.reflections(cell), 5.9)
    return drawn


def _patterns(axes: Any, known: fisher.Information) -> None:
    """Mean of the expected patterns and the range that they cover, on a square-root scale."""
    mean = known.mean[known.used]
    low, middle, high = mean.min(axis=0), mean.mean(axis=0), mean.max(axis=0)
    axes.fill_between(known.centres, low, high, color="0.82", linewidth=0)
    axes.plot(known.centres, middle, color="black", linewidth=0.8)
    axes.set_yscale("function", functions=(run._root, np.square))
    axes.set_yticks(figures_panels.root_ticks(*axes.get_ylim()))
    axes.set_ylabel("Expected counts")


def _labels(axes: Any, windows: Mapping[str, tuple[float, float]], shares: Mapping[str, float]) -> None:
    """Shades the named windows and writes their shares into them."""
    for number, (name, (low, high)) in enumerate(windows.items()):
        axes.axvspan(low, high, color=style.WASH[number % len(style.WASH)], alpha=0.12, linewidth=0)
        if shares[name] >= LEAST_SHARE:
            axes.text(
                (low + high) / 2, 0.97, f"{100 * shares[name]:.0f} %", transform=axes.get_xaxis_transform(),
                ha="center", va="top", fontsize=figures_panels.LABEL_SIZE,
            )  # fmt: skip
