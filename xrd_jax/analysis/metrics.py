"""Errors of predictions over seeds, the baseline, and shares of maps in named windows."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from xrd_jax.analysis.neighbours import baseline_scores
from xrd_jax.analysis.vaw import window_shares
from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.series.record import PatternSeries


def scores(
    spec: TargetSpec, predicted: np.ndarray, truth: np.ndarray, distribution: np.ndarray | None = None
) -> dict[str, Any]:
    """Return the errors of one target over seeds, and with several seeds those of all together ('ensemble').

    Args:
      predicted: [S, T] values or [S, T, K] probabilities.
      truth: [T].
      distribution: as in `ensemble_values`.
    """
    together = ensemble_values(spec, predicted, distribution)[None] if len(predicted) > 1 else predicted[:0]
    if spec.kind == "classification":
        accuracy, ensemble = (
            (values.argmax(axis=-1) == truth[None, :]).mean(axis=1) for values in (predicted, together)
        )
        result: dict[str, Any] = {"kind": spec.kind, "accuracy": mean_and_std(accuracy)}
        return result | ({"ensemble": {"accuracy": float(ensemble[0])}} if len(ensemble) else {})
    error, ensemble = predicted - truth[None, :], together - truth[None, :]
    mae, rmse = mean_and_std(np.abs(error).mean(axis=1)), mean_and_std(np.sqrt((error**2).mean(axis=1)))
    result = {"kind": spec.kind, "unit": spec.unit, "mae": mae, "rmse": rmse}
    if len(ensemble):
        result["ensemble"] = {"mae": float(np.abs(ensemble).mean()), "rmse": float(np.sqrt((ensemble**2).mean()))}
    return result


def ensemble_values(
    spec: TargetSpec, predicted: np.ndarray, distribution: np.ndarray | None = None
) -> Float[np.ndarray, "T *K"]:
    """Return what all seeds together say: values [T], or probabilities [T, K].

    Args:
      predicted: [S, T] values or [S, T, K] probabilities.
      distribution: [T, bins] mean over seeds of a target that is learnt as a distribution; distributions are averaged,
        and the mean is reduced to one value, not the values.
    """
    if distribution is None or not spec.is_distribution:
        return predicted.mean(axis=0)
    return np.asarray(spec.to_point(jnp.asarray(distribution)))


def std_over_seeds(values: Float[np.ndarray, " S *T"]) -> Float[np.ndarray, " *T"]:
    """Return the sample standard deviation over seeds; 0 for a single one."""
    return np.asarray(values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1:]))


def mean_and_std(per_seed: np.ndarray) -> dict[str, Any]:
    """Return mean and sample standard deviation (0 for one seed) with the values themselves."""
    deviation = float(std_over_seeds(per_seed))
    return {"mean": float(per_seed.mean()), "std": deviation, "per_seed": [float(v) for v in per_seed]}


def baselines(series: PatternSeries, specs: tuple[TargetSpec, ...], config: Config) -> dict[str, Any]:
    """Return the errors of k-nearest neighbours on the run's split and on the split by cycle, where it is possible."""
    results: dict[str, Any] = {}
    for name in dict.fromkeys((config.prepare.split, "cycle")):
        try:
            prepare = dataclasses.replace(config.prepare, split=name)
            results[name] = baseline_scores(series, specs, prepare, config.split_seed)
        except UserError:  # one cycle only: there is no split by cycle to show
            continue
    return results


def window_summary(series: PatternSeries, axis: np.ndarray, curves: np.ndarray) -> dict[str, Any]:
    """Return VAW of the named windows: session -> window -> 'mean', 'max', 'share' with their deviation over seeds.

    Args:
      axis: [L] positions of the input channels.
      curves: [S, sessions, L] mean registered maps; a session without patterns is NaN and left out.
    """
    names = zip(series.session_names, curves.swapaxes(0, 1), strict=True)
    return {name: shares_over_seeds(series, axis, seeds) for name, seeds in names if not np.isnan(seeds).all()}


def shares_over_seeds(series: PatternSeries, axis: np.ndarray, curves: np.ndarray) -> dict[str, dict[str, Any]]:
    """Return window -> 'mean', 'max', 'share' of mean maps [S, L], with their deviation over seeds."""
    per_seed = [window_shares(axis, curve, series.windows) for curve in curves]
    return {
        window: {key: mean_and_std(np.asarray([s[window][key] for s in per_seed])) for key in ("mean", "max", "share")}
        for window in series.windows
    }
