"""What is known about a simulated cell, for people: curves, a table, a figure, and where a network stands."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xrd_jax import files
from xrd_jax.config.cell import Cell
from xrd_jax.config.overrides import from_dict
from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError
from xrd_jax.figures import style
from xrd_jax.figures.information import figure
from xrd_jax.information import fisher
from xrd_jax.information import posterior as information_posterior
from xrd_jax.information import shapley as information_shapley
from xrd_jax.physics import windows as physics_windows

FOLDER = "information"  # inside a run directory


class Standing(NamedTuple):
    """Errors on one target: mean absolute error in mV, or share of patterns in a wrong class in %.

    Attributes:
      lookup: three nearest neighbours; network: of a finished run; None where there is no run.
      posterior: the exact posterior of all measured channels.
      bound: Cramér-Rao, mode and rate known, after resizing; None for classes.
    """

    lookup: float | None
    network: float | None
    posterior: float
    bound: float | None

    @property
    def way(self) -> float | None:
        """How much of the way from the look-up to the posterior the network has gone; below 0: it fell back."""
        if self.lookup is None or self.network is None or self.lookup <= self.posterior:
            return None
        return (self.lookup - self.network) / (self.lookup - self.posterior)


def report(config: Config, workdir: str, say: Callable[[str], None]) -> Path:
    """Writes what is known about the simulated cell of `config`, or of the run that `workdir` holds.

    Files: curves.csv, table.md, information.json and figures/information.png, .svg; in a run's directory they lie in
    its folder 'information'.

    Returns:
      the folder with the files.

    Raises:
      UserError: the run was not trained on the simulated cell, or a file cannot be read or written.
    """
    path, metrics = Path(workdir), None
    if (path / "config.json").is_file():
        config, metrics = _finished(path)
        path = path / FOLDER
    cell, prepare = config.cell, config.prepare
    known = fisher.information(cell, prepare)
    best = information_posterior.oracle(cell, np.ones(cell.channels, bool), prepare=prepare)
    values = information_shapley.shapley(cell, prepare=prepare)
    stands = standings(known, best, metrics)
    lines = [*_standing_lines(stands), "", *_share_lines(cell, known, values)]
    files.write_bytes(path / "table.md", ("\n".join(lines) + "\n").encode())
    files.write_bytes(path / "curves.csv", curves(known).encode())
    found = {"standing": {k: {**v._asdict(), "way": v.way} for k, v in stands.items()}, "shapley": values}
    windows = physics_windows.windows(cell)
    found["shares"] = {target: fisher.shares(known, target, windows) for target in known.per_frame}
    files.write_json(path / "information.json", found)
    style.save(figure(cell, known), path / "figures", "information", files.write_bytes)
    for line in lines:
        say(line)
    say("")
    for target, one in stands.items():
        say(sentence(target, one))
    say(f"curves, table and figure: {path}")
    return path


def _finished(path: Path) -> tuple[Config, dict[str, Any]]:
    """Configuration and metrics of a finished run on the simulated cell."""
    try:
        record = json.loads((path / "config.json").read_text())
        metrics = json.loads((path / "metrics.json").read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path}: {Path(error.filename).name} is missing; let the training finish first") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: config.json or metrics.json is damaged ({error})") from None
    config = from_dict(Config, record.get("config", record))
    if config.data:
        raise UserError(f"{path}: was trained on {config.data}; what is known is known of the simulated cell alone")
    return config, metrics


def standings(
    known: fisher.Information, best: Mapping[str, float], metrics: Mapping[str, Any] | None
) -> dict[str, Standing]:
    """Target -> errors of look-up, network, posterior and bound, in mV or %."""
    out = {}
    for target, value in best.items():
        continuous = target == "voltage"
        key, scale = ("mae", 1e3) if continuous else ("accuracy", 100.0)
        error = (lambda score, s=scale: s * score) if continuous else (lambda score, s=scale: s * (1.0 - score))
        network = lookup = None
        if metrics is not None and target in metrics["targets"]:
            network = error(metrics["targets"][target][key]["mean"])
            lookups = metrics.get("baseline_3nn", {})
            lookup = error(lookups[metrics["split"]][target][key]) if metrics["split"] in lookups else None
        bound = 1e3 * float(np.nanmean(known.bound)) if continuous else None
        out[target] = Standing(lookup, network, error(value), bound)
    return out


def sentence(target: str, one: Standing) -> str:
    """Where the network stands, in words."""
    unit, what = ("mV", "error") if one.bound is not None else ("%", "wrong")
    parts = []
    if one.lookup is not None:
        parts.append(f"look-up {one.lookup:.2f} {unit}")
    if one.network is not None:
        parts.append(f"network {one.network:.2f} {unit}")
    parts.append(f"exact posterior {one.posterior:.2f} {unit}")
    if one.bound is not None:
        parts.append(f"Cramér–Rao bound {one.bound:.2f} {unit} (mode and rate known)")
    text = f"{target}, {what}: " + ", ".join(parts)
    if one.network is not None:
        text += f"; the network's is {one.network / max(one.posterior, 1e-9):.1f} times the posterior's"
    if one.way is not None:
        text += f", {100 * one.way:.0f} % of the way there from the look-up" if one.way > 0 else ", behind the look-up"
    return text


def _standing_lines(stands: Mapping[str, Standing]) -> list[str]:
    def shown(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    lines = [
        "| error | 3 nearest neighbours | network | exact posterior | Cramér–Rao bound |",
        "|---|---|---|---|---|",
    ]
    for target, one in stands.items():
        unit = "mV" if one.bound is not None else "% wrong"
        lines.append(f"| {target}, {unit} | " + " | ".join(shown(value) for value in one[:4]) + " |")
    return lines


def _share_lines(cell: Cell, known: fisher.Information, values: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Share of information, best single channel in bits, share of the Shapley values: a row for each window."""
    windows, targets = physics_windows.windows(cell), list(known.per_frame)
    head = [f"{target}: {what}" for target in targets for what in ("information", "best channel, bit", "Shapley")]
    lines = ["| window | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    shares = {target: fisher.shares(known, target, windows) for target in targets}
    for name in [*windows, information_posterior.REST]:
        cells = []
        for target in targets:
            low, high = windows.get(name, (0.0, -1.0))
            inside = (known.centres >= low) & (known.centres <= high)
            total = sum(values[target].values())
            own = values[target].get(name)
            cells += [
                f"{shares[target][name]:.3f}" if name in windows else "–",
                f"{known.mutual[target][inside].max():.2f}" if inside.any() else "–",
                "–" if own is None else f"{own / total:.3f}",
            ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def curves(known: fisher.Information) -> str:
    """CSV: for each channel its share of the information about each target, and bits of it alone."""
    columns: dict[str, np.ndarray] = {
        "two_theta_deg": known.centres,
        "mean_counts": known.mean[known.used].mean(axis=0),
    }
    for target in known.per_frame:
        columns[f"{target}_share"] = fisher.curve(known, target)
        columns[f"{target}_in_90_percent"] = fisher.carriers(known, target).astype(int)
        columns[f"{target}_single_channel_bit"] = known.mutual[target]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([f"{value:.7g}" for value in row] for row in zip(*columns.values(), strict=True))
    return text.getvalue()
