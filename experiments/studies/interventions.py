"""Does a map follow its cause? Peaks are taken away, dimmed and moved in the simulator, and networks built otherwise.

    python -m experiments.studies.interventions --workdirs=runs/truth/3-bin-paper,runs/truth/3-bin-faithful
    python -m experiments.studies.interventions --parts=build --seeds=2 --epochs=25
    python -m experiments.studies.interventions --parts=retrain --workdirs=runs/truth/1-bin-paper --seeds=2 --epochs=12

`peaks` shows finished networks of the simulated cell patterns in which one group of reflections is absent, half as
high, or 0.1° further right: the change of every prediction, and where each map's mass goes. Patterns are expected
counts without noise, so that nothing but the peak differs. `build` trains case 1 with the paddings, an odd kernel and
a zero that wanders by 0.03°, and asks of what is trained and untrained how much of each map lies at the ends and on
Al 111, beside what the exact information says of it. `retrain` takes the channels that a map of a finished run calls
important from training and verification patterns alike and lets networks learn anew: what the others can still tell.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from absl import app, flags

from xrd_jax import datasets
from xrd_jax.analysis.run import Run, open_run
from xrd_jax.config.cell import Cell
from xrd_jax.explain import accumulate, attribution, metrics, peak_windows, study
from xrd_jax.explain import retrain as explain_retrain
from xrd_jax.files import write_bytes
from xrd_jax.information import fisher
from xrd_jax.physics import crystal, peak_positions, profile, simulate
from xrd_jax.physics import windows as physics_windows
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.series.record import PatternSeries

ROOT = Path(__file__).resolve().parents[2]
MOVED = 0.1  # degrees
MAPS = ("own_attention", "gradient_noise", "ensemble_noise", "vaw")
PLACED = ("gradient_noise", "vaw")  # asked for their share at the ends and on Al 111
BUILT = {
    "paper": [],
    "padding edge": ["model.padding=edge"],
    "padding reflect": ["model.padding=reflect"],
    "kernel 5": ["model.kernel=5"],
    "zero wanders 0.03°": ["cell.shift_sigma_deg=0.03"],
}
ALUMINIUM = "Al 111 + NMC 012"
LOST, LOSSES = ("ensemble_noise", "vaw", "intensity", "random"), (0.1, 0.3)

_PARTS = flags.DEFINE_list("parts", ["peaks", "build"], "Which of peaks, build, retrain.")
_WORKDIRS = flags.DEFINE_list(
    "workdirs", [], "Finished runs on the simulated cell with a decoy, for peaks and retrain."
)
_FRAMES = flags.DEFINE_integer("frames", 400, "Verification patterns, evenly spaced.")
_RUNS = flags.DEFINE_string("runs", "runs/causal", "Where the runs of build go.")
_SEEDS = flags.DEFINE_integer("seeds", 2, "Networks per variant of build, and of every retraining.")
_EPOCHS = flags.DEFINE_integer("epochs", 25, "Epochs of build and retrain.")
_OUT = flags.DEFINE_string("out", "", "Folder for causal.json; the tables alone are printed if empty.")


def changed(cell: Cell) -> Iterator[tuple[str, str, Cell]]:
    """(name of the window, what is done, the cell with it)."""
    wide = {"graphite 00l": "graphite_counts", "Al 111": "aluminium_counts", "decoy": "decoy_counts"}
    for name, field in wide.items():
        for what, factor in (("absent", 0.0), ("half", 0.5)):
            yield name, what, dataclasses.replace(cell, **{field: factor * getattr(cell, field)})
    for name, lines in {"NMC 003": ((0, 0, 3),), "NMC 101 + 006": ((1, 0, 1), (0, 0, 6))}.items():
        for what, factor in (("absent", 0.0), ("half", 0.5)):
            share = dict.fromkeys(lines, factor)
            rows = tuple(
                (h, k, m, share.get((h, k, m), 1.0) * full, share.get((h, k, m), 1.0) * empty)
                for h, k, m, full, empty in cell.nmc_reflections
            )
            yield name, what, dataclasses.replace(cell, nmc_reflections=rows)
    stages = tuple((*r[:3], _further(cell, r[3]), _further(cell, r[4]), r[5]) for r in cell.stages)
    yield "graphite 00l", "moved", dataclasses.replace(cell, stages=stages)
    yield "Al 111", "moved", dataclasses.replace(cell, aluminium=_further(cell, cell.aluminium))
    first, last = cell.decoy_deg
    yield "decoy", "moved", dataclasses.replace(cell, decoy_deg=(first + MOVED, last + MOVED))


def _further(cell: Cell, d: float) -> float:
    """The spacing whose reflection lies `MOVED` further right."""
    return float(crystal.d_spacing(crystal.two_theta(jnp.array(d), cell.wavelength) + MOVED, cell.wavelength))


def expected(cell: Cell, like: PatternSeries) -> PatternSeries:
    """Patterns of `cell` without noise, in the frames of `like`."""
    dictionaries, counts = profile.dictionaries(cell), np.empty(like.intensity.shape)
    for where, state in peak_positions.states(cell, like):
        counts[where] = simulate.expected_series(dictionaries, state)
    provenance = {**like.provenance, "cell": dataclasses.asdict(cell)}
    return dataclasses.replace(like, intensity=np.rint(counts).astype(np.uint16), provenance=provenance)


def windows(series: PatternSeries, axis: np.ndarray) -> dict[str, np.ndarray]:
    """Name -> [T, L] channels of the peak in every pattern."""
    return {one.label: one.mask for one in peak_windows.windows(series, axis)}


def answers(run: Run, frames: int) -> tuple[list[str], list[dict[str, Any]]]:
    """Rows of the table, and the same as numbers: what predictions and maps do when a peak is changed."""
    cell, maps = run.config.cell, [m for m in MAPS if m in attribution.available(run)]
    part = study.verification(run, frames)
    plain = expected(cell, part)
    said, places = run.predict(plain), windows(plain, run.axis)
    drawn = accumulate.collect(run, plain, maps, places, reference=part)
    targets = list(said)
    heads = ["peak", "change", *(f"{t}: {'mV' if t == 'voltage' else '% changed'}" for t in targets)]
    heads += [f"{m}, {targets[0]}: % there, before → after" for m in maps]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    record = []
    for name, what, other in changed(cell):
        label = next(one for one in places if name in one)
        series = expected(other, part)
        now, there = run.predict(series), windows(series, run.axis)
        # Where the peak is gone, the map is asked about the place where it was.
        where = {label: there[label] if what == "moved" and label in there else places[label]}
        after = accumulate.collect(run, series, maps, where, reference=part)
        row: dict[str, Any] = {"peak": label, "change": what, "response": {}, "shares": {}}
        for target in targets:
            row["response"][target] = _response(said[target], now[target]).tolist()
            for method in maps:
                pair = (one.shares[method, target][label] for one in (drawn, after))
                row["shares"][f"{method}/{target}"] = [share.tolist() for share in pair]
        cells = [label, what, *(_spread(row["response"][target]) for target in targets)]
        for method in maps:
            before, later = (100.0 * np.mean(values) for values in row["shares"][f"{method}/{targets[0]}"])
            cells.append(f"{before:.1f} → {later:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
        record.append(row)
    lines += ["", *_ranks(record, maps, targets)]
    return lines, record


def _response(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """[S] mean change of the voltage in mV, or part of the patterns in % that change their class."""
    if before.ndim == 2:
        return 1e3 * np.abs(after - before).mean(axis=1)
    return 100.0 * (after.argmax(axis=2) != before.argmax(axis=2)).mean(axis=1)


def _spread(values: Sequence[float] | np.ndarray) -> str:
    return f"{np.mean(values):.1f} ± {np.std(values):.1f}"


def _ranks(record: Sequence[Mapping[str, Any]], maps: Sequence[str], targets: Sequence[str]) -> Iterator[str]:
    """Do the peaks whose absence changes a prediction most have the largest share of the map?"""
    gone = [row for row in record if row["change"] == "absent"]
    for target in targets:
        response = np.array([np.mean(row["response"][target]) for row in gone])
        said = []
        for method in maps:
            shares = np.array([np.mean(row["shares"][f"{method}/{target}"][0]) for row in gone])
            said.append(f"{method} {metrics.spearman(shares, response):.2f}")
        yield f"{target}: rank correlation of a map's share with the harm of the peak's absence: {', '.join(said)}"


def built(name: str, settings: Sequence[str]) -> Run:
    """Case 1 trained in this way, or as it was trained before."""
    workdir = Path(_RUNS.value) / "".join(c if c.isalnum() else "-" for c in name)
    if not (workdir / "metrics.json").exists():
        own = [f"--set={one}" for one in settings]
        command = [sys.executable, str(ROOT / "launch.py"), "--case=1", "--resize=bin", f"--epochs={_EPOCHS.value}"]
        subprocess.run([*command, f"--seeds={_SEEDS.value}", f"--workdir={workdir}", *own], check=True)
    return open_run(workdir)


def artefacts(frames: int) -> tuple[list[str], list[dict[str, Any]]]:
    """Shares of maps at the ends and on Al 111 for networks that are built otherwise."""
    heads = ["network", "MAE (mV)", "information on Al"]
    for method in PLACED:
        heads += [f"{method} on Al (untrained)", f"{method} at the ends (untrained)"]
    lines, record = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)], []
    for name, settings in BUILT.items():
        run = built(name, settings)
        part = study.verification(run, frames)
        axis, cell = run.axis, run.config.cell
        low, high = physics_windows.windows(cell)[ALUMINIUM]
        aluminium = (axis >= low) & (axis <= high)
        known = fisher.information(cell, run.config.prepare)
        truth = float(fisher.curve(known, "voltage")[aluminium].sum())
        error = np.abs(run.predict(part)["voltage"] - part.targets["voltage"].values[None, :]).mean(axis=1)
        row: dict[str, Any] = {"name": name, "mae_mv": (1e3 * error).tolist(), "information": truth}
        cells = [name, _spread(1e3 * error), f"{100 * truth:.1f} %"]
        both = [accumulate.collect(one, part, PLACED) for one in (run, attribution.untrained(run))]
        for method in PLACED:
            for place in ("aluminium", "ends"):
                shares = []
                for found in both:
                    curves = metrics.unit(found.curves[method, "voltage"])
                    inside = aluminium if place == "aluminium" else metrics.ends(axis.size)
                    shares.append(100.0 * float(curves[:, inside].sum(axis=1).mean()))
                row[f"{method}/{place}"] = shares
                cells.append(f"{shares[0]:.1f} ({shares[1]:.1f})")
        lines.append("| " + " | ".join(cells) + " |")
        record.append(row)
    return lines, record


def retrained(run: Run) -> tuple[list[str], list[dict[str, Any]]]:
    """Errors of networks that learn without the channels that a map ranks first, a row per map."""
    series, _, _ = datasets.load_for(run.config)
    prepared = prepare(series, run.config.prepare, run.config.split_seed)
    train = dataclasses.replace(run.config.train, epochs=_EPOCHS.value)
    config = dataclasses.replace(run.config, seeds=_SEEDS.value, train=train)
    curves = accumulate.collect(run, study.verification(run), LOST).curves
    spec = run.specs[0]
    scale, unit = (1e3, "mV") if spec.unit == "V" else (1.0, spec.unit or "wrong")
    whole = scale * explain_retrain.retrain(prepared, config, np.ones(run.axis.size), 0.0)[spec.name]
    lines = [f"{spec.name} ({unit}), all channels: {_spread(whole)}; without the first channels of a map:", ""]
    lines += ["| map | " + " | ".join(f"{100 * loss:.0f} %" for loss in LOSSES) + " |", "|---|" + "---|" * len(LOSSES)]
    record = [{"map": "all channels", "lost": 0.0, "error": whole.tolist()}]
    for method in LOST:
        curve, cells = curves[method, spec.name].mean(axis=0), []
        for loss in LOSSES:
            error = scale * explain_retrain.retrain(prepared, config, curve, loss)[spec.name]
            record.append({"map": method, "lost": loss, "error": error.tolist()})
            cells.append(_spread(error))
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return lines, record


def main(argv: Sequence[str]) -> None:
    del argv
    record: dict[str, Any] = {}
    if "peaks" in _PARTS.value:
        for workdir in _WORKDIRS.value:
            lines, record[Path(workdir).name] = answers(open_run(workdir), _FRAMES.value)
            print(f"\n**{Path(workdir).name}**\n", *lines, sep="\n")
    if "retrain" in _PARTS.value:
        for workdir in _WORKDIRS.value:
            lines, record[f"{Path(workdir).name}, retrained"] = retrained(open_run(workdir))
            print(f"\n**{Path(workdir).name}, retrained**\n", *lines, sep="\n")
    if "build" in _PARTS.value:
        lines, record["build"] = artefacts(_FRAMES.value)
        print("", *lines, sep="\n")
    if _OUT.value:
        write_bytes(Path(_OUT.value) / "causal.json", (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    app.run(main)
