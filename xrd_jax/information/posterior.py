"""The best that anybody could do with a set of channels: the exact posterior, and what each window adds to it.

The posterior of a measured frame runs over all states that the cell passes through and that are not tested, every one
of them equally likely beforehand. Flux f ~ N(1, σ_f²) and zero shift d ~ N(0, σ_d²) of the cell's drifts are
integrated out with Laplace's method,

    log p(n | s) = max_{f, d} [a log f - f b_s(d) + c_s(d) - (f - 1)²/2σ_f² - d²/2σ_d²] - ½ log det(-Hessian),

with a = Σ n, b = Σ μ, c = Σ n log μ over the chosen channels; b and c are the polynomials in d through a few shifts.
All three add up over channels, so what every window says is computed once and put together for any set of windows.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from xrd_jax.config.cell import Cell
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.information import state_path
from xrd_jax.physics import profile, simulate
from xrd_jax.physics.profile import Dictionaries
from xrd_jax.physics.simulate import FrameState

ANALYSED = PrepareConfig(window_target="voltage", window_low=3.6)
REST = "rest"
NODES = np.array([-3.0, -1.5, 0.0, 1.5, 3.0])  # shifts in standard deviations, between which there are polynomials
FARTHEST = 4.0  # standard deviations of shift that are looked at
CHUNK = 40
STEPS = 3  # of Newton's method
LEAST_SIGMA = 1e-6  # a drift that is switched off


class Likelihood(NamedTuple):
    """What groups of channels (G) say of test frames (B) and candidate states (C), for any shift; it adds up over G.

    Attributes:
      photons: [G, B] Σ n.
      level: [P, G, C] coefficients of Σ μ - reference as a polynomial in the shift, in its standard deviations.
      match: [P, G, B, C] the same of Σ n log(μ / reference).
      reference: [G] Σ of the reference pattern.
    """

    photons: Float[Array, "G B"]
    level: Float[Array, "P G C"]
    match: Float[Array, "P G B C"]
    reference: Float[Array, " G"]


class Sample(NamedTuple):
    """Frames that are tested and the states they may be in.

    Attributes:
      counts: [B, N] drawn photons.
      states: of the C candidates, without drifts.
      tested, candidates: indices into the passage.
    """

    counts: np.ndarray
    states: FrameState
    tested: np.ndarray
    candidates: np.ndarray


def draw(cell: Cell, frames: int, prepare: PrepareConfig = ANALYSED) -> tuple[Sample, state_path.StatePath]:
    """Draws `frames` test frames evenly from the analysed window, with stationary drifts and photons of their own.

    Raises:
      UserError: fewer than two states would be left to choose from.
    """
    whole = state_path.state_path(cell)
    used = np.flatnonzero(state_path.in_window(whole, prepare))
    rng = np.random.default_rng([cell.seed, 0x0AC1E])
    tested = np.sort(rng.permutation(used)[: min(frames, used.size // 2)])
    candidates = np.setdiff1d(used, tested)
    candidates = candidates[np.argsort(whole.voltage[candidates], kind="stable")]
    if tested.size < 1 or candidates.size < 2:
        raise UserError("the analysed window has too few frames for an oracle; widen prepare.window_low")
    shift = cell.shift_sigma_deg * rng.standard_normal(tested.size)
    flux = 1.0 + cell.flux_sigma * rng.standard_normal(tested.size)
    states = jax.tree.map(lambda leaf: leaf[tested], whole.states)
    states = states._replace(flux=flux.astype(np.float32), shift=shift.astype(np.float32))
    expected = np.asarray(simulate.expected_series(profile.dictionaries(cell), states), np.float64)
    kept = jax.tree.map(lambda leaf: leaf[candidates], whole.states)
    return Sample(rng.poisson(expected), kept, tested, candidates), whole


@jax.jit
def _patterns(dictionaries: Dictionaries, states: FrameState) -> Float[Array, "C M"]:
    return jax.lax.map(lambda state: simulate.mixture(dictionaries, state), states, batch_size=simulate.CHUNK)


@jax.jit
def _moved(patterns: Float[Array, "C M"], shift: Array, channel: Array) -> Float[Array, "C N"]:
    return jax.lax.map(lambda one: simulate.shifted(one, shift, channel), patterns, batch_size=simulate.CHUNK)


@jax.jit
def _through(*values: Float[Array, "C N"]) -> Float[Array, "P C N"]:
    """Coefficients of the polynomials that take `values` at the nodes."""
    matrix = np.linalg.inv(np.vander(NODES, increasing=True)).tolist()
    return jnp.stack([sum((a * one for a, one in zip(row, values, strict=True)), 0.0 * values[0]) for row in matrix])


def _expansion(
    patterns: Float[Array, "C M"], channel: Array, sigma: Array
) -> tuple[Float[Array, "P C N"], Float[Array, "P C N"], Float[Array, " N"]]:
    """μ less its mean over the states and log(μ / mean), as polynomials in the shift; and that mean.

    In steps, each of which is written to memory: in one program the shifts would be computed again and again.

    Args:
      channel: its width; `sigma`: standard deviation of the shift; both in degrees.
    """
    at = [_moved(patterns, sigma * float(node), channel) for node in NODES]
    mean = at[len(NODES) // 2].mean(axis=0)
    levels = _through(*(one - mean[None, :] for one in at))
    return levels, _through(*(jnp.log(one / mean[None, :]) for one in at)), mean


def _grouped(expansion: tuple[Array, Array, Array], groups: Bool[np.ndarray, "G N"]) -> list[tuple[Array, ...]]:
    """The channels of each group alone, so that no product runs over others."""
    return [tuple(part[..., np.flatnonzero(group)] for part in expansion) for group in groups]


@jax.jit
def _likelihood(counts: list[Float[Array, "B n"]], grouped: list[tuple[Array, ...]]) -> Likelihood:
    """Sums over the channels of each group."""
    return Likelihood(
        photons=jnp.stack([own.sum(axis=1) for own in counts]),
        level=jnp.stack([levels.sum(axis=2) for levels, _, _ in grouped], axis=1),
        match=jnp.stack(
            [jnp.einsum("bn,pcn->pbc", own, logs) for own, (_, logs, _) in zip(counts, grouped, strict=True)], axis=1
        ),
        reference=jnp.stack([mean.sum() for _, _, mean in grouped]),
    )


def _polynomial(coefficients: Float[Array, "P B C"], x: Float[Array, "B C"]) -> tuple[Array, Array, Array]:
    """Value and two derivatives at x (Horner)."""
    value, first, second = jnp.zeros_like(x), jnp.zeros_like(x), jnp.zeros_like(x)
    for one in coefficients[::-1]:
        second = second * x + 2.0 * first
        first = first * x + value
        value = value * x + one
    return value, first, second


@jax.jit
def _posterior(likelihood: Likelihood, chosen: Float[Array, " G"], flux_sigma: Array) -> Float[Array, "B C"]:
    """Posterior of the candidates from the groups that are `chosen` (1 or 0), flux and shift integrated out."""
    stiff = 1.0 / flux_sigma**2
    photons = (chosen @ likelihood.photons)[:, None]
    # Sums, not dot products: over so short an axis those are many times slower.
    levels = (likelihood.level * chosen[None, :, None]).sum(axis=1)[:, None, :]
    matches = (likelihood.match * chosen[None, :, None, None]).sum(axis=1)
    base = chosen @ likelihood.reference
    e, x = jnp.zeros_like(matches[0]), jnp.zeros_like(matches[0])  # f = 1 + e, d = x σ_d
    for step in range(STEPS + 1):
        b, b1, b2 = _polynomial(levels, x)
        c, c1, c2 = _polynomial(matches, x)
        ee, xx = photons / (1 + e) ** 2 + stiff, jnp.maximum((1 + e) * b2 - c2, 0.0) + 1.0
        determinant = jnp.maximum(ee * xx - b1**2, 0.1 * ee * xx)
        if step < STEPS:
            by_e = photons / (1 + e) - (base + b) - stiff * e
            by_x = c1 - (1 + e) * b1 - x
            e = jnp.clip(e + (xx * by_e - b1 * by_x) / determinant, -0.5, 1.0)
            x = jnp.clip(x + (ee * by_x - b1 * by_e) / determinant, -FARTHEST, FARTHEST)
    value = photons * jnp.log1p(e) - e * (base + b) - b + c - 0.5 * (stiff * e**2 + x**2 + jnp.log(determinant))
    return jax.nn.softmax(value, axis=1)


@functools.partial(jax.jit, static_argnums=0)
def _decided(
    estimate: str, posterior: Float[Array, "B C"], voltage: Float[Array, " C"], modes: Float[Array, "C K"],
    rates: Float[Array, "C R"],
) -> tuple[Float[Array, " B"], Array, Array]:  # fmt: skip
    """Median (candidates are sorted by voltage) or mean voltage, likeliest mode and rate."""
    median = jnp.argmax(jnp.cumsum(posterior, axis=1) >= 0.5, axis=1)
    best = voltage[median] if estimate == "median" else posterior @ voltage
    return best, jnp.argmax(posterior @ modes, axis=1), jnp.argmax(posterior @ rates, axis=1)


def scores(
    cell: Cell, groups: Bool[np.ndarray, "G N"], sets: Bool[np.ndarray, "J G"], frames: int = 800,
    prepare: PrepareConfig = ANALYSED, estimate: Literal["median", "mean"] = "median",
) -> dict[str, Float[np.ndarray, " J"]]:  # fmt: skip
    """What the exact posterior achieves with each set of groups of channels.

    The place of a decoy says nothing and can be read off to a thousandth of a degree: the oracle is told of it, as if
    it were not there.

    Args:
      estimate: of the voltage; the posterior's median has the least mean absolute error, its mean the least square.

    Returns:
      'voltage': mean absolute error in V of that estimate; 'mode' and, with several rates, 'rate': accuracy.
    """
    cell = dataclasses.replace(cell, decoy=False)
    sample, whole = draw(cell, frames, prepare)
    dictionaries = profile.dictionaries(cell)
    patterns = _patterns(dictionaries, sample.states)
    flux_sigma, shift_sigma = (jnp.float32(max(x, LEAST_SIGMA)) for x in (cell.flux_sigma, cell.shift_sigma_deg))
    grouped = _grouped(_expansion(patterns, dictionaries.step, shift_sigma), groups)
    voltage = jnp.asarray(whole.voltage[sample.candidates], jnp.float32)
    classes = (values[sample.candidates] for values in (whole.mode, whole.rate))
    one_hot = [jax.nn.one_hot(jnp.asarray(values), int(values.max()) + 1) for values in classes]
    found = np.empty((3, len(sets), sample.tested.size))
    for begin in range(0, sample.tested.size, CHUNK):
        rows = np.arange(begin, min(begin + CHUNK, sample.tested.size))
        counts = sample.counts[np.resize(rows, CHUNK)].astype(np.float32)
        said = _likelihood([jnp.asarray(counts[:, group]) for group in groups], grouped)
        for index, chosen in enumerate(jnp.asarray(sets, jnp.float32)):
            decided = _decided(estimate, _posterior(said, chosen, flux_sigma), voltage, *one_hot)
            found[:, index, rows] = np.stack(decided)[:, : rows.size]
    out = {"voltage": np.abs(found[0] - whole.voltage[sample.tested][None, :]).mean(axis=1)}
    out["mode"] = (found[1] == whole.mode[sample.tested][None, :]).mean(axis=1)
    if len(cell.rates) > 1:
        out["rate"] = (found[2] == whole.rate[sample.tested][None, :]).mean(axis=1)
    return out


def oracle(
    cell: Cell, channels: Bool[np.ndarray, " N"], frames: int = 800, prepare: PrepareConfig = ANALYSED,
    estimate: Literal["median", "mean"] = "median",
) -> dict[str, float]:  # fmt: skip
    """What the exact posterior achieves with `channels` alone; see `scores`.

    Raises:
      UserError: `channels` is not one bool for each channel of the cell.
    """
    channels = np.asarray(channels, bool)
    if channels.shape != (cell.channels,):
        raise UserError(f"an oracle needs one bool for each of the cell's {cell.channels} channels")
    found = scores(cell, channels[None, :], np.ones((1, 1), bool), frames, prepare, estimate)
    return {name: float(values[0]) for name, values in found.items()}
