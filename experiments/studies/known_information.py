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
from xrd_jax.information import fisher as information_fisher
from xrd_jax.information import posterior, state_path
from xrd_jax.physics import profile, simulate
from xrd_jax.physics import windows as physics_windows

CELL = Cell()
FAST = dataclasses.replace(CELL, rates=("1C",))
WHOLE = PrepareConfig(window_target="voltage", window_low=3.6, resize="none")
NMC = ("NMC 003", "NMC 101+006", "Al 111 + NMC 012")
# What is tried: name, cell, windows (all channels without), and what the other implementation gave: mV, mode, rate.
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


def posteriors() -> Iterator[str]:
    """The exact posterior with some windows: a row each."""
    yield "| channels, cell | median: mV / mode / rate | mean: mV | the other (mean) |\n|---|---|---|---|"
    for name, cell, chosen, other in POSTERIORS:
        axis = cell.start_deg + cell.step_deg * np.arange(cell.channels)
        spans = [physics_windows.windows(cell)[one] for one in chosen]
        inside = np.any([(axis >= low) & (axis <= high) for low, high in spans], axis=0) if spans else axis > 0
        best, mean = (posterior.oracle(cell, inside, prepare=WHOLE, estimate=kind) for kind in ("median", "mean"))
        rate = f"{best['rate']:.3f}" if "rate" in best else "–"
        yield (
            f"| {name} | {1e3 * best['voltage']:.1f} / {best['mode']:.3f} / {rate} | {1e3 * mean['voltage']:.1f} "
            f"| {other} |"
        )


def bounds() -> Iterator[str]:
    """Cramér-Rao bounds, and what resizing keeps of the information."""
    found = {
        kind: information_fisher.information(CELL, override(Config(prepare=WHOLE), [f"resize={kind}"]).prepare)
        for kind in RESIZED
    }
    whole, slow = found["none"], _rates()
    for number, rate in enumerate(CELL.rates):
        rows = slow == number
        low, middle, high = np.nanquantile(1e3 * whole.bound[rows], (0.02, 0.5, 0.98))
        mean = 1e3 * np.nanmean(whole.bound[rows])
        yield f"{rate}: mean bound {mean:.2f} mV; 2 %, 50 %, 98 % of frames: {low:.2f}, {middle:.2f}, {high:.2f}"
    total = whole.total["voltage"]
    for kind in RESIZED[1:]:
        share = found[kind].total["voltage"].sum() / total.sum()
        yield f"{kind}, 256 channels: {100 * share:.1f} % of the information about voltage"


RESIZED = ("none", "spline", "bin")


def _rates() -> np.ndarray:
    whole = state_path.state_path(CELL)
    return whole.rate[whole.tiles]


def distribution() -> Iterator[str]:
    """Where the information lies: each frame counting the same, all frames summed, and nothing taken as unknown."""
    known, rates = information_fisher.information(CELL, WHOLE), _rates()
    windows = {name: physics_windows.windows(CELL)[name] for name in ("NMC 003", "graphite", *NMC[1:])}
    yield "| target | rate | counted | " + " | ".join(windows) + " |\n|" + "---|" * (3 + len(windows))
    free = {name: _without_nuisances(known.used, name) for name in ("mode", "rate")}
    for target in known.per_frame:
        for number, rate in enumerate(CELL.rates):
            rows = (rates == number) & (known.total[target] > 0)
            shares, total = known.per_frame[target][rows], known.total[target][rows]
            ways = {"per frame": shares.mean(axis=0), "summed": (shares * total[:, None]).sum(axis=0)}
            if target in free:
                ways["per frame, nothing unknown"] = free[target][rows].mean(axis=0)
            for way, curve in ways.items():
                parts = [_part(known.centres, curve, span) for span in windows.values()]
                yield f"| {target} | {rate} | {way} | " + " | ".join(f"{part:.3f}" for part in parts) + " |"


def _part(centres: np.ndarray, curve: np.ndarray, span: tuple[float, float]) -> float:
    inside = (centres >= span[0]) & (centres <= span[1])
    return float(curve[inside].sum() / curve.sum())


def _without_nuisances(used: np.ndarray, target: str) -> np.ndarray:
    """[T, N] shares of the divergence from the nearest state of another class, flux, shift and background known."""
    whole, dictionaries = state_path.state_path(CELL), profile.dictionaries(CELL)
    rows = np.flatnonzero(state_path.in_window(whole, WHOLE))
    states = jax.tree.map(lambda leaf: leaf[rows], whole.states)
    expected = np.asarray(simulate.expected_series(dictionaries, states))
    labels = {"mode": whole.mode, "rate": whole.rate}[target][rows]
    steady, shares = 2.0 * np.sqrt(expected), np.zeros((len(used), expected.shape[1]), np.float32)
    squares = (steady**2).sum(axis=1)
    place = np.empty(len(rows), int)
    for begin in range(0, len(rows), 500):
        own = slice(begin, begin + 500)
        distance = squares[own, None] + squares[None, :] - 2.0 * steady[own] @ steady.T
        place[own] = np.where(labels[own, None] != labels[None, :], distance, np.inf).argmin(axis=1)
    divergence = (expected[place] - expected) ** 2 / expected
    shares[rows] = divergence / divergence.sum(axis=1, keepdims=True)
    return shares[whole.tiles]


def standard() -> Iterator[str]:
    """Al 111 as an internal standard: how well the voltage is known when zero and flux are not."""
    loose = dataclasses.replace(FAST, shift_sigma_deg=0.03, flux_sigma=0.1)
    axis = loose.start_deg + loose.step_deg * np.arange(loose.channels)
    for names, other in ((NMC[:1], 31.0), ((NMC[0], NMC[2]), 2.7)):
        spans = [physics_windows.windows(loose)[name] for name in names]
        inside = np.any([(axis >= low) & (axis <= high) for low, high in spans], axis=0)
        known = _bound(loose, inside)
        yield f"zero known to 0.03°, flux to 10 %, {' and '.join(names)}: bound {known:.1f} mV (the other: {other} mV)"


def _bound(cell: Cell, inside: np.ndarray) -> float:
    """Mean over frames of √(2/π) J^-1/2 in mV with Gaussian knowledge of flux and shift, on some channels."""
    whole, dictionaries = state_path.state_path(cell), profile.dictionaries(cell)
    rows = np.flatnonzero(state_path.in_window(whole, WHOLE))
    prior = jnp.array([0.0, cell.flux_sigma**-2, cell.shift_sigma_deg**-2])

    def one(state: simulate.FrameState, direction: simulate.FrameState) -> jax.Array:
        counts = simulate.expected_counts(dictionaries, state)
        ways = [
            information_fisher.by_voltage(dictionaries, state, direction),
            *information_fisher.nuisances(dictionaries, state)[:2],
        ]
        white = jnp.stack(ways) * jnp.where(inside, 1.0 / jnp.sqrt(counts), 0.0)[None, :]
        fisher = white @ white.T + jnp.diag(prior)
        return fisher[0, 0] - fisher[0, 1:] @ jnp.linalg.solve(fisher[1:, 1:], fisher[1:, 0])

    states, direction = (jax.tree.map(lambda leaf: leaf[rows], part) for part in (whole.states, whole.direction))
    amount = np.asarray(jax.jit(jax.vmap(one))(states, direction), np.float64)
    return float(1e3 * np.sqrt(2.0 / np.pi / np.maximum(amount, 1e-12)).mean())


def main(argv: Sequence[str]) -> None:
    del argv
    parts: tuple[Callable[[], Iterator[str]], ...] = (bounds, distribution, posteriors, standard)
    for part in parts:
        for line in part():
            print(line, flush=True)
        print()


if __name__ == "__main__":
    app.run(main)
