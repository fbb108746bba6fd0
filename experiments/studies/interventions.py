"""Does a map follow its cause? Peaks are taken away, dimmed and moved in the simulator, and networks built otherwise.

    python -m experiments.studies.interventions --workdirs=runs/truth/3-bin-paper,runs/truth/3-bin-faithful
    python -m experiments.studies.interventions --parts=build --seeds=2 --epochs=25
    python -m experiments.studies.interventions --parts=retrain --workdirs=runs/truth/1-bin-paper --seeds=2 --epochs=12

`peaks` shows finished networks of the simulated cell patterns in which one group of reflections is absent, half as
high, or 0.1° further right: the change of every prediction, and where each map's mass goes. Patterns are expected
counts without noise, so that nothing but the peak differs. `build` trains case 1 with the paddings, an odd kernel and
a zero that wanders by 0.03°, and asks of what is trained and untrained how much of each map lies at the ends and on
Al 111, beside what the exact information says of it. `retrain` takes the channels that a map of a finished run calls
important from training and test patterns alike and lets networks learn anew: what the others can still tell.
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
from xrd_jax.commands.tables import markdown
from xrd_jax.config.cell import Cell
from xrd_jax.explain.accumulate import collect
from xrd_jax.explain.attribution import untrained
from xrd_jax.explain.methods import available_methods
from xrd_jax.explain.metrics import edge_channels, spearman, unit
from xrd_jax.explain.peak_windows import find_windows
from xrd_jax.explain.retrain import retrain
from xrd_jax.explain.study import select_test_patterns
from xrd_jax.files import write_bytes
from xrd_jax.information import fisher
from xrd_jax.physics import crystal, forward_model, peak_positions, profile
from xrd_jax.physics.windows import named_windows
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.series.record import PatternSeries

ROOT = Path(__file__).resolve().parents[2]
SHIFT_DEG = 0.1  # by which peaks are moved
MAPS = ("own_attention", "gradient_noise", "ensemble_noise", "vaw")
VARIANT_MAPS = ("gradient_noise", "vaw")  # asked for their share at the ends and on Al 111
VARIANTS = {
    "paper": [], "padding edge": ["model.padding=edge"], "padding reflect": ["model.padding=reflect"],
    "kernel 5": ["model.kernel=5"], "zero wanders 0.03°": ["cell.shift_sigma_deg=0.03"],
}  # fmt: skip
ALUMINIUM = "Al 111 + NMC 012"
RETRAINED_MAPS = ("ensemble_noise", "vaw", "intensity", "random")
FRACTIONS = (0.1, 0.3)  # of the channels that are deleted before networks learn anew

_PARTS = flags.DEFINE_list("parts", ["peaks", "build"], "Which of peaks, build, retrain.")
_WORKDIRS = flags.DEFINE_list("workdirs", [], "Finished runs on the cell with a decoy, for peaks and retrain.")
_FRAMES = flags.DEFINE_integer("frames", 400, "Test patterns, evenly spaced.")
_RUNS = flags.DEFINE_string("runs", "runs/causal", "Where the runs of build go.")
_SEEDS = flags.DEFINE_integer("seeds", 2, "Networks per variant of build, and of every retraining.")
_EPOCHS = flags.DEFINE_integer("epochs", 25, "Epochs of build and retrain.")
_OUT = flags.DEFINE_string("out", "", "Folder for causal.json; the tables alone are printed if empty.")


def changed_cells(cell: Cell) -> Iterator[tuple[str, str, Cell]]:
    """Yield (name of the window, what is done to it, the cell with that)."""
    fields = {"graphite 00l": "graphite_counts", "Al 111": "aluminium_counts", "decoy": "decoy_counts"}
    for name, field in fields.items():
        for change, factor in (("absent", 0.0), ("half", 0.5)):
            yield name, change, dataclasses.replace(cell, **{field: factor * getattr(cell, field)})
    for name, lines in {"NMC 003": ((0, 0, 3),), "NMC 101 + 006": ((1, 0, 1), (0, 0, 6))}.items():
        for change, factor in (("absent", 0.0), ("half", 0.5)):
            factors = dict.fromkeys(lines, factor)
            rows = tuple(
                (h, k, m, factors.get((h, k, m), 1.0) * full, factors.get((h, k, m), 1.0) * empty)
                for h, k, m, full, empty in cell.nmc_reflections
            )
            yield name, change, dataclasses.replace(cell, nmc_reflections=rows)
    stages = tuple((*r[:3], _shifted(cell, r[3]), _shifted(cell, r[4]), r[5]) for r in cell.stages)
    yield "graphite 00l", "moved", dataclasses.replace(cell, stages=stages)
    yield "Al 111", "moved", dataclasses.replace(cell, aluminium=_shifted(cell, cell.aluminium))
    first, last = cell.decoy_deg
    yield "decoy", "moved", dataclasses.replace(cell, decoy_deg=(first + SHIFT_DEG, last + SHIFT_DEG))


def _shifted(cell: Cell, d: float) -> float:
    """The spacing whose reflection lies `SHIFT_DEG` further right."""
    return float(crystal.d_spacing(crystal.two_theta(jnp.array(d), cell.wavelength) + SHIFT_DEG, cell.wavelength))


def expected_patterns(cell: Cell, like: PatternSeries) -> PatternSeries:
    """Return patterns of `cell` without noise, in the frames of `like`."""
    dictionaries, counts = profile.dictionaries(cell), np.empty(like.intensity.shape)
    for indices, state in peak_positions.series_states(cell, like):
        counts[indices] = forward_model.expected_series(dictionaries, state)
    provenance = {**like.provenance, "cell": dataclasses.asdict(cell)}
    return dataclasses.replace(like, intensity=np.rint(counts).astype(np.uint16), provenance=provenance)


def peak_masks(series: PatternSeries, axis: np.ndarray) -> dict[str, np.ndarray]:
    """Return name -> [T, L] channels of the peak in every pattern."""
    return {window.label: window.mask for window in find_windows(series, axis)}


def change_peaks(run: Run, frames: int) -> tuple[str, list[dict[str, Any]]]:
    """Return a table, and the same as numbers: what predictions and maps do when a peak is changed."""
    cell, methods = run.config.cell, [m for m in MAPS if m in available_methods(run)]
    series = select_test_patterns(run, frames)
    original = expected_patterns(cell, series)
    predictions, masks = run.predict(original), peak_masks(original, run.axis)
    before = collect(run, original, methods, masks, reference=series)
    targets = list(predictions)
    heads = ["peak", "change", *(f"{t}: {'mV' if t == 'voltage' else '% changed'}" for t in targets)]
    table = [[*heads, *(f"{m}, {targets[0]}: % there, before → after" for m in methods)]]
    record = []
    for name, change, changed_cell in changed_cells(cell):
        label = next(label for label in masks if name in label)
        changed = expected_patterns(changed_cell, series)
        changed_predictions, changed_masks = run.predict(changed), peak_masks(changed, run.axis)
        # Where the peak is gone, the map is asked about the channels where it was.
        mask = changed_masks[label] if change == "moved" and label in changed_masks else masks[label]
        after = collect(run, changed, methods, {label: mask}, reference=series)
        row: dict[str, Any] = {"peak": label, "change": change, "response": {}, "shares": {}}
        for target in targets:
            row["response"][target] = _response(predictions[target], changed_predictions[target]).tolist()
            for method in methods:
                pair = (maps.shares[method, target][label] for maps in (before, after))
                row["shares"][f"{method}/{target}"] = [share.tolist() for share in pair]
        means = [[100.0 * np.mean(s) for s in row["shares"][f"{method}/{targets[0]}"]] for method in methods]
        responses = (_mean_and_std(row["response"][target]) for target in targets)
        table.append([label, change, *responses, *(f"{first:.1f} → {then:.1f}" for first, then in means)])
        record.append(row)
    return "\n".join([markdown(table), *_rank_correlations(record, methods, targets)]), record


def _response(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """[S] mean change of the voltage in mV, or part of the patterns in % that change their class."""
    if before.ndim == 2:
        return 1e3 * np.abs(after - before).mean(axis=1)
    return 100.0 * (after.argmax(axis=2) != before.argmax(axis=2)).mean(axis=1)


def _mean_and_std(values: Sequence[float] | np.ndarray) -> str:
    return f"{np.mean(values):.1f} ± {np.std(values):.1f}"


def _rank_correlations(
    record: Sequence[Mapping[str, Any]], methods: Sequence[str], targets: Sequence[str]
) -> Iterator[str]:
    """Do the peaks whose absence changes a prediction most have the largest share of the map?"""
    absent = [row for row in record if row["change"] == "absent"]
    for target in targets:
        response = np.array([np.mean(row["response"][target]) for row in absent])
        parts = []
        for method in methods:
            shares = np.array([np.mean(row["shares"][f"{method}/{target}"][0]) for row in absent])
            parts.append(f"{method} {spearman(shares, response):.2f}")
        yield f"{target}: rank correlation of a map's share with the harm of the peak's absence: {', '.join(parts)}"


def train_variant(name: str, settings: Sequence[str]) -> Run:
    """Return case 1 trained in this way, now or before."""
    workdir = Path(_RUNS.value) / "".join(c if c.isalnum() else "-" for c in name)
    if not (workdir / "metrics.json").exists():
        options = [f"--epochs={_EPOCHS.value}", f"--seeds={_SEEDS.value}", *(f"--set={text}" for text in settings)]
        command = [sys.executable, str(ROOT / "launch.py"), "--case=1", "--resize=bin", f"--workdir={workdir}"]
        subprocess.run([*command, *options], check=True)
    return open_run(workdir)


def compare_variants(frames: int) -> tuple[str, list[dict[str, Any]]]:
    """Return shares of maps at the ends and on Al 111 for networks that are built otherwise."""
    heads = ["network", "MAE (mV)", "information on Al"]
    for method in VARIANT_MAPS:
        heads += [f"{method} on Al (untrained)", f"{method} at the ends (untrained)"]
    table, record = [heads], []
    for name, settings in VARIANTS.items():
        run = train_variant(name, settings)
        series, cell = select_test_patterns(run, frames), run.config.cell
        low, high = named_windows(cell)[ALUMINIUM]
        regions = {"aluminium": (run.axis >= low) & (run.axis <= high), "ends": edge_channels(run.axis.size)}
        information = fisher.mean_shares(fisher.channel_information(cell, run.config.prepare), "voltage")
        share = float(information[regions["aluminium"]].sum())
        error = 1e3 * np.abs(run.predict(series)["voltage"] - series.targets["voltage"].values[None, :]).mean(axis=1)
        row: dict[str, Any] = {"name": name, "mae_mv": error.tolist(), "information": share}
        cells = [name, _mean_and_std(error), f"{100 * share:.1f} %"]
        both = [collect(networks, series, VARIANT_MAPS) for networks in (run, untrained(run))]
        for method in VARIANT_MAPS:
            for region, inside in regions.items():
                curves = (unit(maps.curves[method, "voltage"]) for maps in both)
                shares = [100.0 * float(curve[:, inside].sum(axis=1).mean()) for curve in curves]
                row[f"{method}/{region}"] = shares
                cells.append(f"{shares[0]:.1f} ({shares[1]:.1f})")
        table.append(cells)
        record.append(row)
    return markdown(table), record


def delete_and_retrain(run: Run) -> tuple[str, list[dict[str, Any]]]:
    """Return errors of networks that learn without the channels that a map ranks first, a row per map."""
    series, _, _ = datasets.load_for(run.config)
    prepared = prepare(series, run.config.prepare, run.config.split_seed)
    train = dataclasses.replace(run.config.train, epochs=_EPOCHS.value)
    config = dataclasses.replace(run.config, seeds=_SEEDS.value, train=train)
    curves = collect(run, select_test_patterns(run), RETRAINED_MAPS).curves
    spec = run.specs[0]
    scale, unit_name = (1e3, "mV") if spec.unit == "V" else (1.0, spec.unit or "wrong")
    whole = scale * retrain(prepared, config, np.ones(run.axis.size), 0.0)[spec.name]
    table = [["map", *(f"{100 * fraction:.0f} %" for fraction in FRACTIONS)]]
    record = [{"map": "all channels", "lost": 0.0, "error": whole.tolist()}]
    for method in RETRAINED_MAPS:
        curve, cells = curves[method, spec.name].mean(axis=0), [method]
        for fraction in FRACTIONS:
            error = scale * retrain(prepared, config, curve, fraction)[spec.name]
            record.append({"map": method, "lost": fraction, "error": error.tolist()})
            cells.append(_mean_and_std(error))
        table.append(cells)
    head = f"{spec.name} ({unit_name}), all channels: {_mean_and_std(whole)}; without the first channels of a map:"
    return f"{head}\n\n{markdown(table)}", record


def main(argv: Sequence[str]) -> None:
    del argv
    record: dict[str, Any] = {}
    names = {workdir: Path(workdir).name for workdir in _WORKDIRS.value}
    if "peaks" in _PARTS.value:
        for workdir, name in names.items():
            text, record[name] = change_peaks(open_run(workdir), _FRAMES.value)
            print(f"\n**{name}**\n\n{text}")
    if "retrain" in _PARTS.value:
        for workdir, name in names.items():
            text, record[f"{name}, retrained"] = delete_and_retrain(open_run(workdir))
            print(f"\n**{name}, retrained**\n\n{text}")
    if "build" in _PARTS.value:
        text, record["build"] = compare_variants(_FRAMES.value)
        print(f"\n{text}")
    if _OUT.value:
        write_bytes(Path(_OUT.value) / "causal.json", (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    app.run(main)
