"""--mode=information: what is known of a simulated cell as curves, table and figure, and how a network compares."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xrd_jax import files
from xrd_jax.config.overrides import from_dict
from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError
from xrd_jax.figures import style
from xrd_jax.figures.information import figure
from xrd_jax.information import fisher
from xrd_jax.information.fisher import ChannelInformation
from xrd_jax.information.posterior import REST, score_channels
from xrd_jax.information.shapley import shapley_of_windows
from xrd_jax.physics.windows import named_windows

FOLDER = "information"  # inside a run directory


class TargetErrors(NamedTuple):
    """Errors on one target: mean absolute error in mV, or share of patterns in a wrong class in %.

    Attributes:
      neighbours: of three nearest neighbours; network: of a finished run; None where there is no run.
      posterior: of the exact posterior of all measured channels.
      bound: Cramér-Rao, mode and rate known, after resizing; None for classes.
    """

    neighbours: float | None
    network: float | None
    posterior: float
    bound: float | None

    @property
    def progress(self) -> float | None:
        """How much of the way from the nearest neighbours to the posterior the network has gone; below 0: behind."""
        if self.neighbours is None or self.network is None or self.neighbours <= self.posterior:
            return None
        return (self.neighbours - self.network) / (self.neighbours - self.posterior)


def report(config: Config, workdir: str, echo: Callable[[str], None]) -> Path:
    """Write what is known about the simulated cell of `config`, or of the run that `workdir` holds.

    Files: curves.csv, table.md, information.json and figures/information.png, .svg; in a run's directory they lie in
    its folder 'information', which is returned.

    Raises:
      UserError: the run was not trained on the simulated cell, or a file cannot be read or written.
    """
    folder, metrics = Path(workdir), None
    if (folder / "config.json").is_file():
        config, metrics = _read_run(folder)
        folder = folder / FOLDER
    cell, prepare = config.cell, config.prepare
    information = fisher.channel_information(cell, prepare)
    scores = score_channels(cell, np.ones(cell.channels, bool), prepare=prepare)
    shapley = shapley_of_windows(cell, prepare=prepare)
    errors, windows = target_errors(information, scores, metrics), named_windows(cell)
    shares = {target: fisher.window_shares(information, target, windows) for target in information.shares}
    lines = [*_error_table(errors), "", *_window_table(windows, information, shares, shapley)]
    files.write_bytes(folder / "table.md", ("\n".join(lines) + "\n").encode())
    files.write_csv(folder / "curves.csv", _curve_rows(information))
    keys = ("lookup", "network", "posterior", "bound", "way")
    standing = {target: dict(zip(keys, (*error, error.progress), strict=True)) for target, error in errors.items()}
    files.write_json(folder / "information.json", {"standing": standing, "shapley": shapley, "shares": shares})
    style.save(figure(cell, information), folder / "figures", "information")
    messages = [describe_errors(target, error) for target, error in errors.items()]
    for line in [*lines, "", *messages, f"curves, table and figure: {folder}"]:
        echo(line)
    return folder


def _read_run(path: Path) -> tuple[Config, dict[str, Any]]:
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


def target_errors(
    information: ChannelInformation, scores: Mapping[str, float], metrics: Mapping[str, Any] | None
) -> dict[str, TargetErrors]:
    """Return target -> errors of nearest neighbours, network, posterior and bound, in mV or %."""
    errors = {}
    for target, posterior in scores.items():
        key = "mae" if target == "voltage" else "accuracy"
        network = neighbours = None
        if metrics is not None and target in metrics["targets"]:
            network = _error(target, metrics["targets"][target][key]["mean"])
            baseline = metrics.get("baseline_3nn", {}).get(metrics["split"])
            neighbours = _error(target, baseline[target][key]) if baseline is not None else None
        bound = 1e3 * float(np.nanmean(information.bound)) if target == "voltage" else None
        errors[target] = TargetErrors(neighbours, network, _error(target, posterior), bound)
    return errors


def _error(target: str, score: float) -> float:
    """A mean absolute error in V as mV, an accuracy as % wrong."""
    return 1e3 * score if target == "voltage" else 100.0 * (1.0 - score)


def describe_errors(target: str, error: TargetErrors) -> str:
    """Return the errors on a target in words."""
    unit, quantity = ("mV", "error") if error.bound is not None else ("%", "wrong")
    named = {"3 nearest neighbours": error.neighbours, "network": error.network, "exact posterior": error.posterior}
    parts = [f"{name} {value:.2f} {unit}" for name, value in named.items() if value is not None]
    if error.bound is not None:
        parts.append(f"Cramér–Rao bound {error.bound:.2f} {unit} (mode and rate known)")
    text = f"{target}, {quantity}: " + ", ".join(parts)
    if error.network is not None:
        text += f"; the network's is {error.network / max(error.posterior, 1e-9):.1f} times the posterior's"
    if error.progress is not None:
        percent = f"{100 * error.progress:.0f} % of the way there from the nearest neighbours"
        text += f", {percent}" if error.progress > 0 else ", behind the nearest neighbours"
    return text


def _error_table(errors: Mapping[str, TargetErrors]) -> list[str]:
    rows = [["error", "3 nearest neighbours", "network", "exact posterior", "Cramér–Rao bound"]]
    for target, error in errors.items():
        unit = "mV" if error.bound is not None else "% wrong"
        rows.append([f"{target}, {unit}", *("–" if value is None else f"{value:.2f}" for value in error)])
    return _table(rows)


def _window_table(
    windows: Mapping[str, tuple[float, float]], information: ChannelInformation,
    shares: Mapping[str, Mapping[str, float]], shapley: Mapping[str, Mapping[str, float]],
) -> list[str]:  # fmt: skip
    """Share of information, best single channel in bits, share of the Shapley values: a row for each window."""
    quantities = ("information", "best channel, bit", "Shapley")
    rows = [["window", *(f"{target}: {quantity}" for target in shares for quantity in quantities)]]
    for name in [*windows, REST]:
        low, high = windows.get(name, (0.0, -1.0))
        is_inside = (information.centres >= low) & (information.centres <= high)
        row = [name]
        for target in shares:
            value, total = shapley[target].get(name), sum(shapley[target].values())
            row += [
                f"{shares[target][name]:.3f}" if name in windows else "–",
                f"{information.bits[target][is_inside].max():.2f}" if is_inside.any() else "–",
                "–" if value is None else f"{value / total:.3f}",
            ]
        rows.append(row)
    return _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; the first row is the header."""
    header, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return [header, "|---" * len(rows[0]) + "|", *body]


def _curve_rows(information: ChannelInformation) -> list[list[str]]:
    """For each channel its share of the information about each target, and bits of it alone; the header first."""
    columns: dict[str, np.ndarray] = {
        "two_theta_deg": information.centres,
        "mean_counts": information.expected[information.is_analysed].mean(axis=0),
    }
    for target in information.shares:
        columns[f"{target}_share"] = fisher.mean_shares(information, target)
        columns[f"{target}_in_90_percent"] = fisher.carrier_channels(information, target).astype(int)
        columns[f"{target}_single_channel_bit"] = information.bits[target]
    return [list(columns), *([f"{value:.7g}" for value in row] for row in zip(*columns.values(), strict=True))]
