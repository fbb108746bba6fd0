"""Where the lithium is while the cell runs: stored solutions of a porous-electrode model, and their recipe.

`load` reads the packaged file; it needs neither PyBaMM nor JAX. `python -m xrd_jax.physics.trajectories` solves the
Doyle-Fuller-Newman model again [1, 2] and rewrites the files (extra `physics`).

References:
  [1] M. Doyle, T. F. Fuller, J. Newman, J. Electrochem. Soc. 140, 1526 (1993).
  [2] V. Sulzer et al., Python Battery Mathematical Modelling (PyBaMM), J. Open Res. Softw. 9, 14 (2021).
  [3] P. Mohtat et al., J. Electrochem. Soc. 167, 110561 (2020): parameter set Mohtat2020.
  [4] C.-H. Chen et al., J. Electrochem. Soc. 167, 080534 (2020): parameter set Chen2020.
"""

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax.errors import UserError

DATA = Path(__file__).parent / "data"
FRAMES = 4000  # of each rate, evenly spaced in time
QUANTILES = 24  # of the stoichiometry of each electrode
KNOT_EVERY = 4  # frames from one stored row of quantiles to the next
RATES = {"1C": 3, "0.2C": 2}  # rate -> full cycles
# Cycles before the first frame, at the same rate: the first charge of a cell at rest lasts a fifth longer than others.
FORMATION = 1
VOLTAGE_LIMITS = (2.8, 4.2)  # V
# Stoichiometry is stored as round(65535 x) in 16 bits, an even step of 1.5e-5 (half precision has 5e-4 near 1), and of
# that the differences along time modulo 65536, which compress to half the size.
FIXED_POINT = 65535

# The published particle radii of Mohtat2020 are so small that 1C leaves almost no gradient (spread 0.016);
# with those of Chen2020 the lag behind equilibrium is that of a practical cell.
RECIPES: dict[str, dict[str, Any]] = {
    "mohtat2020": {
        "parameters": "Mohtat2020",
        "changes": {"Negative particle radius [m]": 5.86e-6, "Positive particle radius [m]": 5.22e-6},
        "initial_soc": None,
    },
    "chen2020": {"parameters": "Chen2020", "changes": {}, "initial_soc": 0.0},
}


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """One galvanostatic run, frame by frame (T frames, Q quantiles, E half cycles, charge first).

    A run that is passed through repeatedly goes on where it ended, without ageing; the quantiles of its P frames are
    kept once: frame t has row t mod P, and P is T where nothing is repeated.
    """

    time: np.ndarray  # [T] mid-exposure time in s
    voltage: np.ndarray  # [T] terminal voltage in V
    open_circuit: np.ndarray  # [T] open-circuit voltage of the bulk stoichiometries in V
    current: np.ndarray  # [T] in A, positive on discharge
    half_cycle: np.ndarray  # [T] number of the half cycle, from 0; even ones are charges
    edges: np.ndarray  # [E + 1] times in s at which the half cycles begin and end
    negative: np.ndarray  # [P, Q] quantiles of the stoichiometry over the volume of the electrode's particles
    positive: np.ndarray


def path_of(name: str) -> Path:
    """Return the file of a trajectory: a packaged name such as 'mohtat2020', or a path ending in .npz."""
    path = Path(name) if name.endswith(".npz") else DATA / f"{name}.npz"
    if not path.is_file():
        packaged = ", ".join(sorted(file.stem for file in DATA.glob("*.npz")))
        raise UserError(f"trajectory '{name}' was not found; use one of {packaged} or the path of an .npz file")
    return path


def sha256(name: str) -> str:
    """Return the SHA-256 of the trajectory file (hex, 64 characters)."""
    return hashlib.sha256(path_of(name).read_bytes()).hexdigest()


def load(name: str, rate: str, repeats: int = 1) -> Trajectory:
    """Read one rate, such as '1C', of a trajectory file (see `path_of`), passed through `repeats` times.

    Quantiles are stored on knots: the first, every fourth and the last frame of each half cycle. Between knots they
    are linear in time, so nothing is interpolated across a reversal of the current.

    Raises:
      UserError: no such file, or the file does not hold that rate.
    """
    with np.load(path_of(name), allow_pickle=False) as file:
        rates = sorted({key.rsplit(":", 1)[0] for key in file.files if ":" in key})
        if rate not in rates:
            raise UserError(f"trajectory '{name}' holds no rate '{rate}'; it holds {', '.join(rates)}")
        stored = {key.rsplit(":", 1)[1]: file[key] for key in file.files if key.startswith(f"{rate}:")}
    edges = stored["edges"].astype(np.float64)
    time, half_cycle = _frame_times(edges, stored["voltage"].size)
    passages = np.arange(repeats)[:, None]
    later = passages * (edges[-1] - edges[0])
    measured = ("voltage", "open_circuit", "current")
    return Trajectory(
        time=(later + time[None, :]).ravel(),
        half_cycle=(passages * (edges.size - 1) + half_cycle[None, :]).ravel(),
        edges=np.append((later + edges[None, :-1]).ravel(), later[-1] + edges[-1]),
        **{name: np.tile(stored[name].astype(np.float64), repeats) for name in measured},
        **{name: _between_knots(stored[name], half_cycle) for name in ("negative", "positive")},
    )


def _frame_times(edges: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Mid-exposure times of evenly spaced frames, and the half cycle that each is in."""
    time = edges[0] + (np.arange(frames) + 0.5) * (edges[-1] - edges[0]) / frames
    return time, np.clip(np.searchsorted(edges, time, side="right") - 1, 0, edges.size - 2)


def _knots(half_cycle: np.ndarray) -> np.ndarray:
    """Frames whose quantiles are stored: first, every `KNOT_EVERY`-th and last of each half cycle."""
    half_cycles = [np.flatnonzero(half_cycle == number) for number in np.unique(half_cycle)]
    return np.concatenate([np.union1d(frames[::KNOT_EVERY], frames[-1:]) for frames in half_cycles])


def _between_knots(stored: np.ndarray, half_cycle: np.ndarray) -> np.ndarray:
    """[knots, Q] differences of fixed-point values -> [T, Q] float32, linear between knots of the same half cycle."""
    knots = _knots(half_cycle)
    if knots.size != stored.shape[0]:
        raise UserError("the trajectory file is inconsistent: stored quantiles do not fit its frames; regenerate it")
    quantiles = np.cumsum(stored, axis=0, dtype=np.uint16).astype(np.float64) / FIXED_POINT
    frames = np.arange(half_cycle.size)
    # Both ends of a half cycle are knots, so the interval between two half cycles holds no frame.
    return np.stack([np.interp(frames, knots, quantile) for quantile in quantiles.T], axis=1).astype(np.float32)


def solve(name: str) -> dict[str, Any]:
    """Solve the recipe `name` with PyBaMM and return the arrays of its file.

    Raises:
      UserError: PyBaMM is not installed.
    """
    os.environ.setdefault("PYBAMM_DISABLE_TELEMETRY", "true")
    try:
        import pybamm
    except ImportError:
        raise UserError("regenerating trajectories needs PyBaMM: pip install 'xrd-jax[physics]'") from None
    recipe = RECIPES[name]
    parameters = pybamm.ParameterValues(recipe["parameters"])
    parameters.update(recipe["changes"])
    arrays: dict[str, Any] = {"note": np.array(f"PyBaMM {pybamm.__version__} DFN {recipe}")}
    low, high = VOLTAGE_LIMITS
    for rate, cycles in RATES.items():
        period = 1.0 / float(rate.removesuffix("C"))
        cycle = (f"Charge at {rate} until {high} V", f"Discharge at {rate} until {low} V")
        experiment = pybamm.Experiment([cycle] * (FORMATION + cycles), period=f"{period} seconds")
        simulation = pybamm.Simulation(
            pybamm.lithium_ion.DFN(), parameter_values=parameters, experiment=experiment, solver=pybamm.IDAKLUSolver()
        )
        solution = simulation.solve(initial_soc=recipe["initial_soc"])
        half_cycles = [step for cycle in solution.cycles[FORMATION:] for step in cycle.steps]
        arrays |= {f"{rate}:{key}": value for key, value in _sampled(half_cycles).items()}
    return arrays


def _sampled(solutions: list[Any]) -> dict[str, np.ndarray]:
    """Arrays of the file at the middle of each exposure, each half cycle sampled from its own solution."""
    edges = np.array([solutions[0].t[0]] + [solution.t[-1] for solution in solutions])
    time, half_cycle = _frame_times(edges, FRAMES)
    knots = _knots(half_cycle)
    variables = {"voltage": "Voltage [V]", "open_circuit": "Bulk open-circuit voltage [V]", "current": "Current [A]"}
    arrays = {"edges": edges - edges[0]}
    for key, variable in variables.items():
        parts = [np.interp(time[half_cycle == i], part.t, part[variable].entries) for i, part in enumerate(solutions)]
        arrays[key] = np.concatenate(parts).astype(np.float32)
    for key in ("negative", "positive"):
        variable, parts = f"{key.capitalize()} particle stoichiometry", []
        for number, solution in enumerate(solutions):
            knot_times = time[knots[half_cycle[knots] == number]]
            parts.append(_quantiles(solution[variable].entries, solution.t, knot_times))
        fixed = np.round(np.clip(np.concatenate(parts), 0, 1) * FIXED_POINT).astype(np.uint16)
        arrays[key] = np.diff(fixed, axis=0, prepend=np.zeros((1, QUANTILES), np.uint16))
    return arrays


def _quantiles(stoichiometry: np.ndarray, solved: np.ndarray, times: np.ndarray) -> np.ndarray:
    """[r, x, t] stoichiometry -> [times, QUANTILES] quantiles at levels (q + 1/2)/Q, weighted by shell volume."""
    shells, positions, _ = stoichiometry.shape
    weight = np.repeat(np.diff(np.linspace(0.0, 1.0, shells + 1) ** 3), positions)
    level = (np.arange(QUANTILES) + 0.5) / QUANTILES
    right = np.clip(np.searchsorted(solved, times), 1, solved.size - 1)
    fractions = (times - solved[right - 1]) / (solved[right] - solved[right - 1])
    rows = []
    for index, fraction in zip(right, fractions, strict=True):
        values = ((1 - fraction) * stoichiometry[:, :, index - 1] + fraction * stoichiometry[:, :, index]).ravel()
        order = np.argsort(values)
        cumulative = np.cumsum(weight[order])
        middle = (cumulative - 0.5 * weight[order]) / cumulative[-1]
        rows.append(np.interp(level, middle, values[order]))
    return np.array(rows)


def main() -> None:
    """Regenerate every packaged file."""
    DATA.mkdir(exist_ok=True)
    for name in RECIPES:
        path = DATA / f"{name}.npz"
        partial = path.with_suffix(".partial.npz")
        np.savez_compressed(partial, **solve(name))
        os.replace(partial, path)
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
