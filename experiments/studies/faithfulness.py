"""Is VAW faithful? Where, for which target, and what should be used instead?

    python -m experiments.studies.faithfulness

Every cell is a case, a resizing and an attention, trained on the simulated cell with a decoy: a peak that wanders at
random and carries nothing. `plain` is the paper's attention on the cell without it, `shuffled` on labels that were
dealt out at random, which leaves nothing to learn. Its networks are trained by one `launch.py` and explained by another
with `--mode=explain`; finished parts are read again, not repeated. Prints the accuracies and, for every cell and map,
its scores against the known information beside its controls; writes them as truth.md and truth.json, and the figures
truth_CELL.png and .svg.

The recipe is that of the cases but for one number. Fresh photons are drawn around an average of neighbouring frames;
the decoy moves on by a ninth of its width from one to the next, and the average of the cases (Gaussian, three frames)
widens it by half: a decoy that no pattern has. Here it is taken over one frame.
"""

from __future__ import annotations

import collections
import csv
import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags
from matplotlib.figure import Figure

from xrd_jax.config.overrides import from_dict
from xrd_jax.config.schema import Config
from xrd_jax.explain import verdict as explain_verdict
from xrd_jax.figures import explanations, style
from xrd_jax.files import write_bytes
from xrd_jax.information import shapley as information_shapley

ROOT = Path(__file__).resolve().parents[2]
PLAIN, SHUFFLED = "plain", "shuffled"
CONTROLS = ("random", "intensity", "variance")
SHARED = ("own_attention", "ensemble_noise", "gradient_noise", "contrast_gradients", "vaw")  # set beside Shapley values
SCORES = {
    "auprc_decoy": "AUPRC", "auprc_seed_std": "± seeds", "auprc_untrained": "untrained", SHUFFLED: "shuffled",
    PLAIN: "no decoy",
    "mass_in_truth": "mass in truth", "decoy_mass": "on decoy", "spearman_shapley": "ρ Shapley",
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


def run(cell: str) -> Path:
    """The run directory of a cell, trained and explained."""
    case, resize, attention = cell.split("-")
    workdir = Path(_RUNS.value) / cell
    own = [f"--case={case}", f"--resize={resize}", f"--seeds={_SEEDS.value}"]
    own += VARIANTS.get(attention, [f"--attention={attention}", *DECOY])
    if not (workdir / "metrics.json").exists():
        command = [sys.executable, str(ROOT / "launch.py"), *own, f"--workdir={workdir}"]
        subprocess.run(command, check=True)
    if not (workdir / "explain.json").exists():
        chosen = [f"--methods={_METHODS.value}"] if _METHODS.value else []
        command = [sys.executable, str(ROOT / "launch.py"), "--mode=explain", f"--workdir={workdir}", *chosen]
        subprocess.run(command, check=True)
    return workdir


def accuracy(cell: str, found: Mapping[str, Any]) -> str:
    """A row of the table of accuracies: mean and standard deviation over seeds."""
    cells = [cell, str(found["explained"]["seeds"])]
    for name in ("voltage", "mode", "rate"):
        own = found["targets"].get(name)
        if own is None:
            cells.append("–")
            continue
        scale, kind = (1e3, "mae") if own["kind"] == "regression" else (1e2, "accuracy")
        cells.append(f"{scale * own[kind]['mean']:.1f} ± {scale * own[kind]['std']:.1f}")
    return "| " + " | ".join(cells) + " |"


def overview(record: Mapping[str, dict[str, Any]]) -> str:
    """A row per cell and target: is VAW faithful there, and what should be used instead?"""
    lines = [
        "| cell | target | VAW | untrained | intensity | ensemble_noise | untrained | on decoy | agree | its verdict |",
        "|" + "---|" * 10,
    ]
    for cell, found in record.items():
        if cell.rpartition("-")[2] in VARIANTS:
            continue
        for target, own in found["explained"]["targets"].items():
            vaw, best, plain = (own["methods"][name] for name in ("vaw", "ensemble_noise", "intensity"))
            cells = [cell, target, _with_spread(vaw), _short(vaw["auprc_untrained"]), _short(plain["auprc_decoy"])]
            cells += [_with_spread(best), *(_short(best[k]) for k in ("auprc_untrained", "decoy_mass", "stability"))]
            lines.append("| " + " | ".join([*cells, best["verdict"]]) + " |")
    return "\n".join(lines)


def misplaced(cell: str) -> list[str]:
    """Rows: how much of a map, in %, would have to move to another window to be as the Shapley values are.

    Half the sum over windows (those of `--mode=information` and the rest) of the difference between a map's share and
    that of the window in what all of them add to the exact posterior. Unlike a rank correlation, it does not ask for
    the order of windows that add nearly the same.
    """
    workdir = Path(_RUNS.value) / cell
    config = from_dict(Config, json.loads((workdir / "config.json").read_text())["config"])
    bare = dataclasses.replace(config.cell, decoy=False)  # which the oracle is told of
    spans, values = information_shapley.default_windows(bare), information_shapley.shapley(bare)
    curves: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with open(workdir / "explain_curves.csv", newline="") as file:
        for row in csv.DictReader(file):
            curves.setdefault((row["method"], row["target"]), []).append((float(row["channel"]), float(row["mean"])))
    lines = []
    for method in (*SHARED, *CONTROLS):
        cells = []
        for target, parts in ((t, v) for t, v in values.items() if (method, t) in curves):
            place, mass = np.array(curves[method, target]).T
            own = [mass[(place >= low) & (place <= high)].sum() / mass.sum() for low, high in spans.values()]
            wanted = np.array([*parts.values()]) / sum(parts.values())
            cells.append(f"{50 * np.abs(np.array([*own, 1 - sum(own)]) - wanted).sum():.0f}")
        if cells:
            lines.append(f"| {cell} | {method} | " + " / ".join(cells) + " |")
    return lines


def _with_spread(row: Mapping[str, Any]) -> str:
    return f"{_short(row['auprc_decoy'])} ± {_short(row['auprc_seed_std'])}"


def table(explained: Mapping[str, Any]) -> str:
    """A row per map; numbers of several targets are parted by strokes, in the order voltage, mode, rate."""
    targets = explained["targets"]
    lines = ["| map | " + " | ".join(SCORES.values()) + " | verdict |", "|" + "---|" * (len(SCORES) + 2)]
    for method in next(iter(targets.values()))["methods"]:
        own = [found["methods"][method] for found in targets.values()]
        shown = [" / ".join(_short(row.get(name)) for row in own) for name in SCORES]
        words = [row["verdict"] for row in own]
        verdict = words[0] if len(set(words)) == 1 else " / ".join(words)
        lines.append(
            f"| {method} | " + " | ".join("–" if set(s) <= set("– /") else s for s in shown) + f" | {verdict} |"
        )
    return "\n".join(lines)


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("0.", ".", 1)


@style.styled
def precisions(cell: str, explained: Mapping[str, Any]) -> Figure:
    """Average precision of every map, of the same map of untrained networks, and of what knows no network."""
    targets = explained["targets"]
    names = [m for m in next(iter(targets.values()))["methods"] if m not in CONTROLS]
    order = sorted(names, key=lambda m: -np.mean([own["methods"][m]["auprc_decoy"] for own in targets.values()]))
    drawn = Figure((style.WIDTH, 1.0 + 0.2 * len(order)), layout="constrained")
    panels = drawn.subplots(1, len(targets), sharey=True, squeeze=False)[0]
    place = np.arange(len(order))
    for axes, (target, found) in zip(panels, targets.items(), strict=True):
        rows = found["methods"]
        for control, dashes in zip(CONTROLS, explanations.DASHES, strict=True):
            axes.axvline(rows[control]["auprc_decoy"], color="0.6", linewidth=0.9, linestyle=dashes, label=control)
        bare = [_number(rows[m]["auprc_untrained"]) for m in order]
        learnt = [_number(rows[m]["auprc_decoy"]) for m in order]
        spread = [_number(rows[m]["auprc_seed_std"]) for m in order]
        axes.hlines(place, bare, learnt, color="0.8", linewidth=1.2, zorder=1)
        axes.plot(bare, place, "o", markerfacecolor="white", color=style.RED, markersize=4.5, label="untrained")
        axes.errorbar(learnt, place, xerr=spread, fmt="o", color=style.BLUE, markersize=4.5, label="trained")
        axes.set_title(explanations.title(target), loc="left")
        axes.set_xlim(0.0, 1.02)
        axes.grid(axis="x", color="0.92", linewidth=0.5)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(place, [explanations.title(m) for m in order])
    panels[0].invert_yaxis()
    drawn.supxlabel("Average precision for the channels that carry 90 % of the information", fontsize=8)
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False)
    return drawn


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def hidden(record: Mapping[str, dict[str, Any]]) -> str:
    """How verdicts that know nothing of the truth compare with those that do."""
    both, wrongly, missed = (collections.Counter[str]() for _ in range(3))
    count = 0
    for found in record.values():
        for own in found["explained"]["targets"].values():
            rows = own["methods"]
            for method in (m for m in rows if m not in CONTROLS):
                blind = explain_verdict.verdict(_blind(rows, method)).word == "supported"
                seen = rows[method]["verdict"] == "supported"
                count += 1
                for words, counts in (
                    (blind and seen, both),
                    (blind and not seen, wrongly),
                    (seen and not blind, missed),
                ):
                    counts[method] += words
    told = {"with and without the truth": both, "only without it": wrongly, "only with it": missed}
    parts = (f"{name} {own.total()} ({_listed(own)})" for name, own in told.items())
    return f"{count} verdicts; supported " + "; ".join(parts)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items() if number) or "none"


def _blind(rows: Mapping[str, Mapping[str, Any]], method: str) -> explain_verdict.Evidence:
    """What would be known of a map on measured data."""
    own = rows[method]
    return explain_verdict.Evidence(
        randomisation=_number(own["randomisation"]), stability=_number(own["stability"]),
        decoy=_number(own["decoy_mass"]), deletion=_number(own["deletion_auc"]),
        deletion_intensity=_number(rows["intensity"]["deletion_auc"]),
        deletion_random=_number(rows["random"]["deletion_auc"]),
    )  # fmt: skip


def with_variants(record: Mapping[str, dict[str, Any]]) -> None:
    """Puts beside every average precision that of networks which saw no decoy, and that of shuffled labels."""
    for cell, found in record.items():
        case, resize, attention = cell.split("-")
        for variant, score in VARIANT_SCORES.items():
            other = record.get(f"{case}-{resize}-{variant}")
            if other is None or attention in VARIANTS:
                continue
            for target, own in found["explained"]["targets"].items():
                rows = other["explained"]["targets"][target]["methods"]
                for method, row in own["methods"].items():
                    row[variant] = rows.get(method, {}).get(score) if method not in CONTROLS else None


def main(argv: Sequence[str]) -> None:
    del argv
    out, record = Path(_OUT.value or _RUNS.value), {}
    for cell in _CELLS.value:
        workdir = run(cell)
        metrics, explained = (json.loads((workdir / name).read_text()) for name in ("metrics.json", "explain.json"))
        record[cell] = {"targets": metrics["targets"], "explained": explained}
    with_variants(record)
    head = ["| cell | seeds | voltage MAE (mV) | mode (%) | rate (%) |", "|---|---|---|---|---|"]
    parts = ["\n".join([*head, *(accuracy(cell, found) for cell, found in record.items())]), overview(record)]
    for cell, found in record.items():
        own = found["explained"]
        parts.append(f"**{cell}**, {own['seeds']} seeds, {own['patterns']} patterns\n\n{table(own)}")
        style.save(precisions(cell, own), out, f"truth_{cell}", write_bytes)
    moved = ["| cell | map | % misplaced: voltage / mode / rate |", "|---|---|---|"]
    parts.append("\n".join(moved + [line for cell in record for line in misplaced(cell)]))
    text = "\n\n".join([*parts, hidden(record)])
    print(text)
    write_bytes(out / "truth.md", (text + "\n").encode())
    write_bytes(out / "truth.json", (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    app.run(main)
