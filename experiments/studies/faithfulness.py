"""Is VAW faithful? Where, for which target, and what should be used instead?

    python -m experiments.studies.faithfulness

Every cell is a case, a resizing and an attention, trained on the simulated cell with a decoy: a peak that wanders at
random and carries nothing. `plain` is the paper's attention on the cell without it, `shuffled` on labels that were
dealt out at random, which leaves nothing to learn. Its networks are trained by one `launch.py` and explained by another
with `--mode=explain`; finished parts are read again. Prints the accuracies and, for every cell and map, its scores
against the known information beside its controls; writes truth.md, truth.json and figures truth_CELL.png and .svg.

The recipe is that of the cases but for one number. Fresh photons are drawn around an average of neighbouring frames;
the cases' (Gaussian, three frames) would widen the decoy by half, which moves on by a ninth of its width from frame to
frame: a decoy that no pattern has. Here it is taken over one frame.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags
from matplotlib.figure import Figure

from xrd_jax.commands.tables import markdown
from xrd_jax.config.overrides import from_dict
from xrd_jax.config.schema import Config
from xrd_jax.explain.methods import CONTROLS
from xrd_jax.explain.verdict import Evidence, judge
from xrd_jax.figures import explanations, style
from xrd_jax.files import write_bytes
from xrd_jax.information.shapley import default_windows, shapley_of_windows

PLAIN, SHUFFLED = "plain", "shuffled"
BESIDE_SHAPLEY = ("own_attention", "ensemble_noise", "gradient_noise", "contrast_gradients", "vaw", *CONTROLS)
SCORES = {
    "auprc_decoy": "AUPRC", "auprc_seed_std": "± seeds", "auprc_untrained": "untrained", SHUFFLED: "shuffled",
    PLAIN: "no decoy", "mass_in_truth": "mass in truth", "decoy_mass": "on decoy", "spearman_shapley": "ρ Shapley",
    "spearman_knockout": "ρ knock-out", "stability": "stability", "deletion_auc": "deletion",
}  # fmt: skip
CELLS = (
    "3-bin-paper", "3-bin-faithful", "3-spline-paper", "2-bin-paper", "2-spline-paper", "1-bin-paper", "1-spline-paper",
    "3-bin-plain", "3-bin-shuffled",
)  # fmt: skip
DECOY = ("--set=cell.decoy=true", "--set=train.redraw_frames=1")
VARIANTS = {PLAIN: ["--attention=paper"], SHUFFLED: ["--attention=paper", "--set=prepare.shuffle_labels=true", *DECOY]}
VARIANT_SCORES = {PLAIN: "auprc_fisher", SHUFFLED: "auprc_decoy"}

_CELLS = flags.DEFINE_list("cells", list(CELLS), "case-resize-attention, comma separated.")
_SEEDS = flags.DEFINE_integer("seeds", 16, "Networks per cell.")
_RUNS = flags.DEFINE_string("runs", "runs/truth", "Where the run directories go.")
_OUT = flags.DEFINE_string("out", "", "Where tables and figures go; the same place if empty.")
_METHODS = flags.DEFINE_string("methods", "", "Explanations, comma separated; all of them if empty.")


def train_and_explain(cell: str) -> Path:
    """Return the run directory of a cell, trained and explained."""
    case, resize, attention = cell.split("-")
    workdir = Path(_RUNS.value) / cell
    launch = [sys.executable, str(Path(__file__).resolve().parents[2] / "launch.py"), f"--workdir={workdir}"]
    if not (workdir / "metrics.json").exists():
        options = [f"--case={case}", f"--resize={resize}", f"--seeds={_SEEDS.value}"]
        subprocess.run([*launch, *options, *VARIANTS.get(attention, [f"--attention={attention}", *DECOY])], check=True)
    if not (workdir / "explain.json").exists():
        methods = [f"--methods={_METHODS.value}"] if _METHODS.value else []
        subprocess.run([*launch, "--mode=explain", *methods], check=True)
    return workdir


def accuracies(record: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of accuracies: mean and standard deviation over seeds, a row per cell."""
    rows = [["cell", "seeds", "voltage MAE (mV)", "mode (%)", "rate (%)"]]
    for cell, run in record.items():
        row = [cell, str(run["explained"]["seeds"])]
        for name in ("voltage", "mode", "rate"):
            target = run["targets"].get(name, {})
            scale, score = (1e3, target["mae"]) if "mae" in target else (1e2, target.get("accuracy"))
            row.append(f"{scale * score['mean']:.1f} ± {scale * score['std']:.1f}" if score else "–")
        rows.append(row)
    return markdown(rows)


def overview(record: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a row per cell and target: is VAW faithful there, and what should be used instead?"""
    heads = "cell, target, VAW, untrained, intensity, ensemble_noise, untrained, on decoy, agree, its verdict"
    rows = [heads.split(", ")]
    for cell, run in record.items():
        if cell.rpartition("-")[2] in VARIANTS:
            continue
        for target, scores in run["explained"]["targets"].items():
            vaw, ensemble, intensity = (scores["methods"][name] for name in ("vaw", "ensemble_noise", "intensity"))
            row = [cell, target, _with_std(vaw), _short(vaw["auprc_untrained"]), _short(intensity["auprc_decoy"])]
            row += [_with_std(ensemble), *(_short(ensemble[k]) for k in ("auprc_untrained", "decoy_mass", "stability"))]
            rows.append([*row, ensemble["verdict"]])
    return markdown(rows)


def misplaced(cell: str) -> list[list[str]]:
    """Return rows: how much of a map, in %, would have to move to another window to be as the Shapley values are.

    Half the sum over windows (those of `--mode=information` and the rest) of the difference between a map's share and
    that of the window in what all of them add to the exact posterior. Unlike a rank correlation, it does not ask for
    the order of windows that add nearly the same.
    """
    workdir = Path(_RUNS.value) / cell
    config = from_dict(Config, json.loads((workdir / "config.json").read_text())["config"])
    without_decoy = dataclasses.replace(config.cell, decoy=False)  # which the oracle is told of
    windows, values = default_windows(without_decoy), shapley_of_windows(without_decoy)
    curves: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for line in csv.DictReader((workdir / "explain_curves.csv").read_text().splitlines()):
        channel = float(line["channel"]), float(line["mean"])
        curves.setdefault((line["method"], line["target"]), []).append(channel)
    rows = []
    for method in BESIDE_SHAPLEY:
        percents = []
        for target, by_window in ((t, v) for t, v in values.items() if (method, t) in curves):
            axis, mass = np.array(curves[method, target]).T
            shares = [mass[(axis >= low) & (axis <= high)].sum() / mass.sum() for low, high in windows.values()]
            true_shares = np.array([*by_window.values()]) / sum(by_window.values())
            percents.append(f"{50 * np.abs(np.array([*shares, 1 - sum(shares)]) - true_shares).sum():.0f}")
        if percents:
            rows.append([cell, method, " / ".join(percents)])
    return rows


def method_table(explained: Mapping[str, Any]) -> str:
    """Return a row per map; numbers of several targets are parted by strokes, in the order voltage, mode, rate."""
    targets = explained["targets"]
    rows = [["map", *SCORES.values(), "verdict"]]
    for method in next(iter(targets.values()))["methods"]:
        scores = [target["methods"][method] for target in targets.values()]
        texts = [" / ".join(_short(row.get(name)) for row in scores) for name in SCORES]
        verdicts = [row["verdict"] for row in scores]
        verdict = verdicts[0] if len(set(verdicts)) == 1 else " / ".join(verdicts)
        rows.append([method, *("–" if set(text) <= set("– /") else text for text in texts), verdict])
    return markdown(rows)


def _with_std(row: Mapping[str, Any]) -> str:
    return f"{_short(row['auprc_decoy'])} ± {_short(row['auprc_seed_std'])}"


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("0.", ".", 1)


@style.styled
def draw_precisions(explained: Mapping[str, Any]) -> Figure:
    """Draw the average precision of every map, of the same map of untrained networks, and of the controls."""
    targets = explained["targets"]
    names = [m for m in next(iter(targets.values()))["methods"] if m not in CONTROLS]
    order = sorted(names, key=lambda m: -np.mean([t["methods"][m]["auprc_decoy"] for t in targets.values()]))
    figure = Figure((style.WIDTH, 1.0 + 0.2 * len(order)), layout="constrained")
    panels = figure.subplots(1, len(targets), sharey=True, squeeze=False)[0]
    rows = np.arange(len(order))
    for axes, (target, scores) in zip(panels, targets.items(), strict=True):
        by_method = scores["methods"]
        for control, dashes in zip(CONTROLS, explanations.DASHES, strict=True):
            axes.axvline(by_method[control]["auprc_decoy"], color="0.6", linewidth=0.9, linestyle=dashes, label=control)
        columns = ("auprc_untrained", "auprc_decoy", "auprc_seed_std")  # None, where there is none, becomes NaN
        untrained, trained, deviation = np.array([[by_method[m][name] for m in order] for name in columns], float)
        axes.hlines(rows, untrained, trained, color="0.8", linewidth=1.2, zorder=1)
        axes.plot(untrained, rows, "o", markerfacecolor="white", color=style.RED, markersize=4.5, label="untrained")
        axes.errorbar(trained, rows, xerr=deviation, fmt="o", color=style.BLUE, markersize=4.5, label="trained")
        axes.set_title(explanations.title(target), loc="left")
        axes.set_xlim(0.0, 1.02)
        axes.grid(axis="x", color="0.92", linewidth=0.5)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(rows, [explanations.title(m) for m in order])
    panels[0].invert_yaxis()
    figure.supxlabel("Average precision for the channels that carry 90 % of the information", fontsize=8)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=5, frameon=False)
    return figure


def blind_verdicts(record: Mapping[str, Mapping[str, Any]]) -> str:
    """Return how verdicts that know nothing of the truth compare with those that do."""
    verdicts = [  # (is the map supported without the truth, is it with the truth, the map)
        (judge(_blind_evidence(scores, method)).word == "supported", scores[method]["verdict"] == "supported", method)
        for scores in (target["methods"] for run in record.values() for target in run["explained"]["targets"].values())
        for method in scores if method not in CONTROLS
    ]  # fmt: skip
    methods = dict.fromkeys(method for *_, method in verdicts)
    kinds = {
        "with and without the truth": (True, True), "only without it": (True, False), "only with it": (False, True)
    }  # fmt: skip
    parts = []
    for kind, supported in kinds.items():
        counts = {method: verdicts.count((*supported, method)) for method in methods}
        listed = ", ".join(f"{method} {count}" for method, count in counts.items() if count) or "none"
        parts.append(f"{kind} {sum(counts.values())} ({listed})")
    return f"{len(verdicts)} verdicts; supported " + "; ".join(parts)


def _blind_evidence(scores: Mapping[str, Mapping[str, Any]], method: str) -> Evidence:
    """What would be known of a map on measured data."""
    row = scores[method]
    numbers = {
        "randomisation": row["randomisation"], "stability": row["stability"], "decoy": row["decoy_mass"],
        "deletion": row["deletion_auc"], "deletion_intensity": scores["intensity"]["deletion_auc"],
        "deletion_random": scores["random"]["deletion_auc"],
    }  # fmt: skip
    return Evidence(**{name: value for name, value in numbers.items() if value is not None})


def add_variants(record: Mapping[str, dict[str, Any]]) -> None:
    """Put beside every average precision that of networks which saw no decoy, and that of shuffled labels."""
    for cell, run in record.items():
        case, resize, attention = cell.split("-")
        for variant, score in VARIANT_SCORES.items():
            other = record.get(f"{case}-{resize}-{variant}")
            if other is None or attention in VARIANTS:
                continue
            for target, scores in run["explained"]["targets"].items():
                of_variant = other["explained"]["targets"][target]["methods"]
                for method, row in scores["methods"].items():
                    row[variant] = of_variant.get(method, {}).get(score) if method not in CONTROLS else None


def main(argv: Sequence[str]) -> None:
    del argv
    out, record = Path(_OUT.value or _RUNS.value), {}
    for cell in _CELLS.value:
        workdir = train_and_explain(cell)
        metrics, explained = (json.loads((workdir / name).read_text()) for name in ("metrics.json", "explain.json"))
        record[cell] = {"targets": metrics["targets"], "explained": explained}
    add_variants(record)
    parts = [accuracies(record), overview(record)]
    for cell, run in record.items():
        explained = run["explained"]
        counts = f"{explained['seeds']} seeds, {explained['patterns']} patterns"
        parts.append(f"**{cell}**, {counts}\n\n{method_table(explained)}")
        style.save(draw_precisions(explained), out, f"truth_{cell}")
    heads = ["cell", "map", "% misplaced: voltage / mode / rate"]
    parts.append(markdown([heads, *(row for cell in record for row in misplaced(cell))]))
    text = "\n\n".join([*(part.rstrip("\n") for part in parts), blind_verdicts(record)])
    print(text)
    write_bytes(out / "truth.md", (text + "\n").encode())
    write_bytes(out / "truth.json", (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    app.run(main)
