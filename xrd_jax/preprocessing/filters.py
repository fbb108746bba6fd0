"""Chemometric treatment of spectra: Savitzky–Golay smoothing and derivatives, baselines, normal variates."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.sparse import csc_array

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError


def check_filters(config: PrepareConfig, channels: int) -> None:
    """Refuse settings that exclude each other.

    Raises:
      UserError: naming the field and the remedy.
    """
    window, order, derivative = config.savgol, config.savgol_order, config.derivative
    if derivative not in (0, 1, 2):
        raise UserError(f"prepare.derivative={derivative}: use 0, 1 or 2")
    if derivative and not window:
        raise UserError(
            "prepare.derivative needs prepare.savgol, the window of the fitted polynomial; set it, such as 11"
        )
    if window and (window % 2 == 0 or not order < window <= channels or order < max(derivative, 1)):
        raise UserError(
            f"prepare.savgol={window}: must be odd, above prepare.savgol_order={order} and at most the {channels} "
            f"channels of the data, and the order at least {max(derivative, 1)}"
        )
    if derivative and config.scale in ("total", "sqrt", "dataset"):
        raise UserError(f"prepare.scale={config.scale} is for intensities; a derivative takes snv, pattern or none")
    if config.baseline != "none":
        _import_pybaselines()


def savgol_matrix(axis: Float[np.ndarray, " N"], window: int, order: int, derivative: int) -> csc_array:
    """Return the Savitzky–Golay filter as a sparse matrix [N, N]: a pattern times it is smoothed, or its derivative.

    Around each channel a polynomial is fitted by least squares to the `window` nearest channels, where they are on the
    axis, so that it may be uneven; the first and last half windows take the polynomial of the window at the end.
    A. Savitzky, M. J. E. Golay, Anal. Chem. 36, 1627 (1964).

    Args:
      derivative: 0 smooths; 1 and 2 differentiate, per axis unit.
    """
    count = axis.size
    values, rows = np.empty((count, window)), np.empty((count, window), np.int32)
    factor = (1.0, 1.0, 2.0)[derivative]
    for channel in range(count):
        first = min(max(channel - window // 2, 0), count - window)
        offsets = axis[first : first + window] - axis[channel]
        unit = np.abs(offsets).max()
        fit = np.linalg.pinv(np.vander(offsets / unit, order + 1, increasing=True))
        rows[channel] = np.arange(first, first + window)
        values[channel] = fit[derivative] * factor / unit**derivative
    return csc_array((values.ravel(), rows.ravel(), np.arange(count + 1) * window), shape=(count, count))


def subtract_baseline(intensity: Float[Array, "B N"], method: str) -> Float[Array, "B N"]:
    """Return patterns less the baseline that pybaselines fits to each, with its default settings.

    The baseline is held constant in derivatives: the gradient passes through as if nothing had been subtracted.
    """
    if method == "none":
        return intensity
    shape = jax.ShapeDtypeStruct(intensity.shape, intensity.dtype)
    baseline = jax.pure_callback(lambda x: fit_baselines(x, method), shape, jax.lax.stop_gradient(intensity),
                                 vmap_method="expand_dims")  # fmt: skip
    return intensity - jax.lax.stop_gradient(baseline)


def fit_baselines(intensity: Float[Array | np.ndarray, "*X N"], method: str) -> Float[np.ndarray, "*X N"]:
    """Return the baselines of patterns, fitted one by one."""
    patterns = np.asarray(intensity, np.float64)
    fitter = _import_pybaselines().Baseline(np.arange(patterns.shape[-1], dtype=np.float64))
    rows = [getattr(fitter, method)(row)[0] for row in patterns.reshape(-1, patterns.shape[-1])]
    return np.stack(rows).reshape(patterns.shape).astype(intensity.dtype)


def _import_pybaselines() -> Any:
    try:
        import pybaselines  # type: ignore[import-untyped]
    except ImportError:
        raise UserError("prepare.baseline needs pybaselines; pip install 'xrd_jax[baseline]'") from None
    return pybaselines


def snv(x: Float[Array, "B C"]) -> Float[Array, "B C"]:
    """Return the standard normal variate: each pattern less its mean, divided by its own standard deviation."""
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = jnp.sqrt((centred**2).mean(axis=-1, keepdims=True))
    return centred / jnp.maximum(deviation, jnp.finfo(x.dtype).tiny)
