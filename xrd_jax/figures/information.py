"""The figure of what is known of the simulated cell."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from xrd_jax.config.cell import Cell
from xrd_jax.figures import style
from xrd_jax.figures.panels import LABEL_SIZE, caption, label_positions, root_ticks, signed_root
from xrd_jax.information.fisher import ChannelInformation, carrier_channels, mean_shares, window_shares
from xrd_jax.physics.windows import named_windows, reflection_positions
from xrd_jax.series.axis import channel_edges

MIN_SHARE = 0.005  # windows with less are not labelled


@style.styled
def figure(cell: Cell, information: ChannelInformation) -> Figure:
    """Draw the patterns, and under them for each target how much of its information lies where on the axis."""
    targets, windows = list(information.shares), named_windows(cell)
    picture = Figure((style.WIDTH, 1.9 + 1.35 * len(targets)), layout="constrained")
    panels = picture.subplots(1 + len(targets), 1, sharex=True, height_ratios=[1.25] + [1.0] * len(targets))
    edges = channel_edges(information.centres)
    _draw_patterns(panels[0], information)
    for axes, target in zip(panels[1:], targets, strict=True):
        bits_line = _draw_target(axes, information, target, edges)
        _label_windows(axes, windows, window_shares(information, target, windows))
    handles, labels = panels[1].get_legend_handles_labels()
    handles, labels = [*handles[::-1], bits_line], [*labels[::-1], "what one channel alone tells"]
    picture.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    panels[-1].set(xlabel="2θ (°)", xlim=(edges[0], edges[-1]))
    label_positions(panels[0], reflection_positions(cell), 5.9)
    return picture


def _draw_target(axes: Axes, information: ChannelInformation, target: str, edges: np.ndarray) -> Line2D:
    """Share of each channel, those that carry 90 % in colour, and the bits of one channel alone."""
    density = 100.0 * mean_shares(information, target) / np.diff(edges)
    carrying = np.where(carrier_channels(information, target), density, 0.0)
    axes.stairs(density, edges, fill=True, color="0.75", linewidth=0, label="the other 10 %")
    axes.stairs(carrying, edges, fill=True, color=style.BLUE, linewidth=0, label="channels that carry 90 %")
    axes.set(ylabel="Share (% per °)", ylim=(0.0, 1.3 * density.max()))
    axes.set_title(caption(target, ""), loc="left")
    right = axes.twinx()
    (bits_line,) = right.plot(information.centres, information.bits[target], color=style.RED, linewidth=0.7)
    right.set_ylim(0.0, 1.3 * information.bits[target].max())
    right.set_ylabel("One channel (bit)", color=style.RED)
    right.tick_params(axis="y", labelcolor=style.RED)
    return bits_line


def _draw_patterns(axes: Axes, information: ChannelInformation) -> None:
    """Mean of the expected patterns and the range that they cover, on a square-root scale."""
    expected = information.expected[information.is_analysed]
    low, middle, high = expected.min(axis=0), expected.mean(axis=0), expected.max(axis=0)
    axes.fill_between(information.centres, low, high, color="0.82", linewidth=0)
    axes.plot(information.centres, middle, color="black", linewidth=0.8)
    axes.set_yscale("function", functions=(signed_root, np.square))
    axes.set_yticks(root_ticks(*axes.get_ylim()))
    axes.set_ylabel("Expected counts")


def _label_windows(axes: Axes, windows: Mapping[str, tuple[float, float]], shares: Mapping[str, float]) -> None:
    """Shade the named windows and write their shares into them."""
    for number, (name, (low, high)) in enumerate(windows.items()):
        axes.axvspan(low, high, color=style.WINDOW_COLOURS[number % len(style.WINDOW_COLOURS)], alpha=0.12, linewidth=0)
        if shares[name] >= MIN_SHARE:
            middle, text, transform = (low + high) / 2, f"{100 * shares[name]:.0f} %", axes.get_xaxis_transform()
            axes.text(middle, 0.97, text, transform=transform, ha="center", va="top", fontsize=LABEL_SIZE)
