"""What is said about a run in words and tables; every number in it stands in metrics.json or config.json."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

from xrd_jax.estimators.baselines import LABELS
from xrd_jax.page.document import Section, Table

SPLITS = {
    "random": "a random half of the patterns, whose neighbours in time were trained on",
    "cycle": "whole cycles that training never saw",
    "block": "stretches of time that training never saw",
    "half_cycle": "half cycles that training never saw",
    "session": "a session that training never saw",
    "rows": "the patterns that were named",
}
UNSUITED = (
    "patterns of another cell, instrument, wavelength or state of ageing, unless measured there anew",
    "patterns that are marked as unlike all training patterns",
    "conclusions about causes: what a network goes by need not be what the cell does",
)


def sections(
    record: Mapping[str, Any], metrics: Mapping[str, Any], tables: Sequence[Table], remarks: Sequence[str]
) -> Iterator[Section]:
    """Yield the sections of a training's page.

    Args:
      record: config.json.
      tables: of results.
      remarks: what the report says beside them.
    """
    yield Section("Results on held-out patterns", remarks, tables)
    yield Section("Methods", [methods(record, metrics)])
    yield Section("What this run must not be used for", [f"{text[0].upper()}{text[1:]}." for text in unsuited(metrics)])
    if left_out := record["data"]["provenance"].get("report"):
        yield Section("What was read, and what was left out and why", left_out)
    yield from settings(record)


def settings(record: Mapping[str, Any]) -> Iterator[Section]:
    """Yield the sections of config.json: the whole configuration, and versions with the fingerprint of the data."""
    rows = [["setting", "value"], *([key, str(value)] for key, value in _flat(record["config"]))]
    yield Section("Settings", (), [Table("", rows)], is_folded=True)
    yield Section("Versions and data", (), [Table("", [["", ""], *_versions(record)])], is_folded=True)


def methods(record: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Return a paragraph for a paper that contains only what is known."""
    provenance, config = record["data"]["provenance"], record["config"]
    axis = metrics.get("axis", {})
    parts = ["Patterns were simulated." if "cell" in provenance else "Patterns were measured."]
    if title := provenance.get("title"):
        parts = [f"{title}: {parts[0][0].lower()}{parts[0][1:]}"]
    if axis.get("wavelength"):
        parts.append(f"The wavelength was {axis['wavelength']:.6g} Å.")
    parts.append(
        f"{metrics['n_train']} patterns were trained on and {metrics['n_test']} held out: "
        f"{SPLITS.get(metrics['split'], metrics['split'])}."
    )
    prepare, model, count = config["prepare"], config["model"], len(metrics["seeds"])
    if "estimator" in metrics:
        parts.append(f"The model was {LABELS[metrics['estimator']['estimator']]}.")
    else:
        networks = "A network" if count == 1 else f"{count} networks that differ in their random start"
        parts.append(
            f"{networks} of {model['depth']} convolutional layers with {model['width']} features and "
            f"{'no attention' if model['attention'] == 'off' else 'attention between two of them'} took "
            f"{prepare['channels']} channels ({prepare['resize']}) and trained for {config['train']['epochs']} epochs."
        )
    parts += [f"{error}." for error in errors(metrics)]
    parts.append(f"Made with xrd_jax {_version('xrd_jax')} and JAX {record['versions'].get('jax', '')}.")
    return " ".join(parts)


def errors(metrics: Mapping[str, Any], beside: bool = True) -> Iterator[str]:
    """Yield a phrase per target: the error on held-out patterns, its spread over seeds, and baselines `beside` it."""
    for name, scores in metrics["targets"].items():
        kind = "mae" if scores["kind"] == "regression" else "accuracy"
        what, unit = ("mean absolute error", scores.get("unit", "")) if kind == "mae" else ("accuracy", "")
        value = scores[kind]
        spread = f" ± {value['std']:.2g} (standard deviation over seeds)" if len(value["per_seed"]) > 1 else ""
        others = [
            f"{LABELS.get(label, label)} {targets[name][kind]:.4g}"
            for label, targets in metrics.get("baselines", {}).items()
            if targets.get(name, {}).get(kind) is not None
        ]
        compared = f"; beside it: {', '.join(others)}" if others and beside else ""
        yield f"{name}: {what} {value['mean']:.4g}{' ' + unit if unit else ''}{spread}{compared}"


def unsuited(metrics: Mapping[str, Any]) -> list[str]:
    """Return what a run must not be used for."""
    first = []
    if metrics["split"] == "random":
        first = ["an estimate of the error on new cycles: neighbours in time of the held-out patterns were trained on"]
    return [*first, *UNSUITED]


def card(record: Mapping[str, Any], metrics: Mapping[str, Any], markdown_tables: Sequence[str]) -> str:
    """Return the run card as Markdown."""
    axis = metrics.get("axis", {})
    known = f"{axis['wavelength']:.6g} Å" if axis.get("wavelength") else "not known"
    lines = [f"# {metrics['name']}", "", "## Data", "", f"- fingerprint: {record['data']['fingerprint']}"]
    lines += [f"- wavelength: {known}", "", "## Split", ""]
    lines += [f"- {metrics['split']}: {SPLITS.get(metrics['split'], metrics['split'])}"]
    lines += [f"- trained on: {metrics['n_train']} patterns", f"- held out: {metrics['n_test']} patterns", ""]
    lines += ["## Errors on held-out patterns", "", *(f"- {error}" for error in errors(metrics)), ""]
    lines += [*markdown_tables, "## Not to be used for", "", *(f"- {text}" for text in unsuited(metrics)), ""]
    return "\n".join(lines).replace("<", "&lt;")  # names of files and targets are no HTML


def _versions(record: Mapping[str, Any]) -> Iterator[list[str]]:
    yield ["fingerprint of the data (SHA-256)", record["data"]["fingerprint"]]
    yield ["xrd_jax", " ".join(filter(None, (_version("xrd_jax"), record.get("git", ""))))]
    yield from ([name, str(version)] for name, version in record["versions"].items())
    yield ["bokeh (this page)", _version("bokeh")]
    yield ["device", str(record.get("device", platform.machine()))]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # run from its source tree
        return ""


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
