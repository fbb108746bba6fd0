"""Predictions as columns of a csv file."""

from __future__ import annotations

import numpy as np

from xrd_jax.preprocessing.targets import TargetSpec


def std_over_seeds(values: np.ndarray) -> np.ndarray:
    """[S, …] -> […] sample standard deviation over seeds; 0 for a single one."""
    return values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1:])


def cells(spec: TargetSpec, values: np.ndarray) -> tuple[list[str], list[str], list[str]]:
    """Columns of a target: (value, standard deviation over seeds, '') or (class, that of its probability, probability).

    Args:
      values: [S, T] or [S, T, K].
    """
    mean, deviation = values.mean(axis=0), std_over_seeds(values)
    if spec.kind == "regression":
        return [f"{v:.6g}" for v in mean], [f"{v:.3g}" for v in deviation], [""] * len(mean)
    best = np.nan_to_num(mean, nan=-1.0).argmax(axis=1)
    rows = np.arange(len(mean))
    names = [spec.classes[i] if np.isfinite(p) else "nan" for i, p in zip(best, mean[rows, best], strict=True)]
    return names, [f"{v:.3g}" for v in deviation[rows, best]], [f"{v:.4f}" for v in mean[rows, best]]


def headings(spec: TargetSpec) -> list[str]:
    """Headings of what `cells` gives, but for the empty column of a regression target."""
    beside = [] if spec.kind == "regression" else [f"{spec.name}_probability"]
    return [f"{spec.name}_predicted", f"{spec.name}_std", *beside]
