"""What is known of the simulated cell, beside what a second, independent implementation of the same cell gave.

    python -m experiments.studies.known_information

Prints the tables of `docs/information.md`: bounds, the exact posterior with some windows, exposures and drifts, and
where the information lies, counted in several ways. Takes some minutes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from absl import app

from xrd_jax.config.cell import Cell
from xrd_jax.config.overrides import override
from xrd_jax.config.schema import Config, PrepareConfig
from xrd_jax.information.fisher import channel_information
from xrd_jax.information.posterior import score_channels
from xrd_jax.information.state_path import cell_state_path, is_in_window, take_frames
from xrd_jax.physics import forward_model, profile
from xrd_jax.physics.windows import channel_angles, named_windows

CELL = Cell()
FAST = dataclasses.replace(CELL, rates=("1C",))
WHOLE = PrepareConfig(window_target="voltage", window_low=3.6, resize="none")
RESIZED = ("none", "spline", "bin")
NMC = ("NMC 003", "NMC 101+006", "Al 111 + NMC 012")
CHUNK = 500  # frames that are compared with all others at once
# Label, cell, windows (none: all channels), and what the other implementation gave: mV, mode, rate.
POSTERIORS: tuple[tuple[str, Cell, tuple[str, ...], str], ...] = (
    ("1C alone, all channels", FAST, (), "1.0 / .994 / –"),
    ("1C alone, NMC's peaks", FAST, NMC, "69 / .73 / –"),
    ("1C alone, graphite", FAST, ("graphite",), "1.6 / .984 / –"),
    ("both rates, all channels", CELL, (), "5.1 / .993 / .954"),
    ("both rates, NMC's peaks", CELL, NMC, "53 / .65 / .85"),
    ("both rates, graphite", CELL, ("graphite",), "11.5 / .976 / .906"),
    ("both rates, NMC 003", CELL, ("NMC 003",), "63 / .62 / .77"),
    ("both rates, 12–17°", CELL, ("empty 12-17",), "132 / .34 / .49"),
    ("a tenth of the exposure", dataclasses.replace(CELL, exposure_s=0.5), (), "17 / .95 / .88"),
    ("ten times the exposure", dataclasses.replace(CELL, exposure_s=50.0), (), "0.7 / .998 / .995"),
    ("no hysteresis", dataclasses.replace(CELL, hysteresis=0.0), (), "31 / .73 / .92"),
)


def bounds() -> Iterator[str]:
    """Cramér-Rao bounds, and what resizing keeps of the information."""
    prepared = {kind: override(Config(prepare=WHOLE), [f"resize={kind}"]).prepare for kind in RESIZED}
    resized = {kind: channel_information(CELL, prepare) for kind, prepare in prepared.items()}
    whole, rates = resized["none"], _rates()
    for number, rate in enumerate(CELL.rates):
        bound = 1e3 * whole.bound[rates == number]
        low, middle, high = np.nanquantile(bound, (0.02, 0.5, 0.98))
        mean = np.nanmean(bound)
        yield f"{rate}: mean bound {mean:.2f} mV; 2 %, 50 %, 98 % of frames: {low:.2f}, {middle:.2f}, {high:.2f}"
    total = whole.total["voltage"].sum()
    for kind in RESIZED[1:]:
        share = resized[kind].total["voltage"].sum() / total
        yield f"{kind}, 256 channels: {100 * share:.1f} % of the information about voltage"


def distribution() -> Iterator[str]:
    """Where the information lies: each frame counting the same, all frames summed, and nothing taken as unknown."""
    information, rates = channel_information(CELL, WHOLE), _rates()
    windows = {name: named_windows(CELL)[name] for name in ("NMC 003", "graphite", *NMC[1:])}
    yield "| target | rate | counted | " + " | ".join(windows) + " |\n|" + "---|" * (3 + len(windows))
    without_nuisances = {name: _shares_without_nuisances(name) for name in ("mode", "rate")}
    for target in information.shares:
        for number, rate in enumerate(CELL.rates):
            rows = (rates == number) & (information.total[target] > 0)
            shares, total = information.shares[target][rows], information.total[target][rows]
            curves = {"per frame": shares.mean(axis=0), "summed": (shares * total[:, None]).sum(axis=0)}
            if target in without_nuisances:
                curves["per frame, nothing unknown"] = without_nuisances[target][rows].mean(axis=0)
            for way, curve in curves.items():
                parts = [curve[_channels_in(CELL, [name])].sum() / curve.sum() for name in windows]
                yield f"| {target} | {rate} | {way} | " + " | ".join(f"{part:.3f}" for part in parts) + " |"


def posteriors() -> Iterator[str]:
    """The exact posterior with some windows: a row each."""
    yield "| channels, cell | median: mV / mode / rate | mean: mV | the other (mean) |\n|---|---|---|---|"
    for label, cell, names, other in POSTERIORS:
        channels = _channels_in(cell, names) if names else np.ones(cell.channels, bool)
        best, mean = (score_channels(cell, channels, prepare=WHOLE, estimate=kind) for kind in ("median", "mean"))
        rate = f"{best['rate']:.3f}" if "rate" in best else "–"
        scores = f"{1e3 * best['voltage']:.1f} / {best['mode']:.3f} / {rate} | {1e3 * mean['voltage']:.1f}"
        yield f"| {label} | {scores} | {other} |"


def internal_standard() -> Iterator[str]:
    """Al 111 as an internal standard: how well the voltage is known when zero and flux are not."""
    cell = dataclasses.replace(FAST, shift_sigma_deg=0.03, flux_sigma=0.1)
    for names, other in ((NMC[:1], 31.0), ((NMC[0], NMC[2]), 2.7)):
        bound = _bound_with_priors(cell, _channels_in(cell, names))
        yield f"zero known to 0.03°, flux to 10 %, {' and '.join(names)}: bound {bound:.1f} mV (the other: {other} mV)"


def _rates() -> np.ndarray:
    """Rate [T] of every frame of the series."""
    path = cell_state_path(CELL)
    return path.rate[path.path_index]


def _channels_in(cell: Cell, names: Sequence[str]) -> np.ndarray:
    """Whether each channel lies in one of the named windows."""
    axis, windows = channel_angles(cell), named_windows(cell)
    return np.any([(axis >= windows[name][0]) & (axis <= windows[name][1]) for name in names], axis=0)


def _shares_without_nuisances(target: str) -> np.ndarray:
    """[T, N] shares of the divergence from the nearest state of another class, flux, shift and background known."""
    path, dictionaries = cell_state_path(CELL), profile.dictionaries(CELL)
    frames = np.flatnonzero(is_in_window(path, WHOLE))
    expected = np.asarray(forward_model.expected_series(dictionaries, take_frames(path.states, frames)))
    labels = {"mode": path.mode, "rate": path.rate}[target][frames]
    roots = 2.0 * np.sqrt(expected)  # in which the noise is 1
    squares = (roots**2).sum(axis=1)
    nearest = np.empty(len(frames), int)
    for first in range(0, len(frames), CHUNK):
        chunk = slice(first, first + CHUNK)
        distance = squares[chunk, None] + squares[None, :] - 2.0 * roots[chunk] @ roots.T
        nearest[chunk] = np.where(labels[chunk, None] != labels[None, :], distance, np.inf).argmin(axis=1)
    divergence = (expected[nearest] - expected) ** 2 / expected
    shares = np.zeros((len(path.voltage), expected.shape[1]), np.float32)
    shares[frames] = divergence / divergence.sum(axis=1, keepdims=True)
    return shares[path.path_index]


def _bound_with_priors(cell: Cell, channels: np.ndarray) -> float:
    """Mean over frames of √(2/π) J^-1/2 in mV with Gaussian priors of flux and shift, on some channels."""
    path, dictionaries = cell_state_path(cell), profile.dictionaries(cell)
    frames = np.flatnonzero(is_in_window(path, WHOLE))
    prior = jnp.array([0.0, cell.flux_sigma**-2, cell.shift_sigma_deg**-2])

    def frame_information(state: forward_model.FrameState, direction: forward_model.FrameState) -> jax.Array:
        counts = forward_model.expected_counts(dictionaries, state)
        by_voltage = forward_model.voltage_derivative(dictionaries, state, direction)
        derivatives = jnp.stack([by_voltage, *forward_model.nuisance_derivatives(dictionaries, state)[:2]])
        white = derivatives * jnp.where(channels, 1.0 / jnp.sqrt(counts), 0.0)[None, :]
        fisher = white @ white.T + jnp.diag(prior)
        return fisher[0, 0] - fisher[0, 1:] @ jnp.linalg.solve(fisher[1:, 1:], fisher[1:, 0])

    states, direction = take_frames(path.states, frames), take_frames(path.direction, frames)
    information = np.asarray(jax.jit(jax.vmap(frame_information))(states, direction), np.float64)
    return float(1e3 * np.sqrt(2.0 / np.pi / np.maximum(information, 1e-12)).mean())


def main(argv: Sequence[str]) -> None:
    del argv
    parts: tuple[Callable[[], Iterator[str]], ...] = (bounds, distribution, posteriors, internal_standard)
    for part in parts:
        for line in part():
            print(line, flush=True)
        print()


if __name__ == "__main__":
    app.run(main)
