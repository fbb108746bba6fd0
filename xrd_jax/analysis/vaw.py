"""The Visualized Attention Weight: the attention matrix reduced by a maximum over keys, and put where it belongs.

Source: Kano, Segi, Ozono, "Careful analysis of XRD patterns with Attention", arXiv:2006.01451.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float


def max_over_keys(attention: Float[jax.Array | np.ndarray, "*B L L"]) -> Float[jax.Array, "*B L"]:
    """Return the raw VAW: for every query the largest weight that it gives to any key.

    Predictions take the same numbers from `models.attention_kernel`, which never writes the matrix.

    Args:
      attention: [B, L (query), L (key)], as `Run.attention` gives it.
    """
    return jnp.max(jnp.asarray(attention), axis=-1)


def standardise(vaw: Float[np.ndarray, "*S L"]) -> Float[np.ndarray, "*S L"]:
    """Return each pattern's map stretched to 0…1; a constant map becomes 0."""
    low = vaw.min(axis=-1, keepdims=True, initial=np.inf)  # of a map without channels too
    high = vaw.max(axis=-1, keepdims=True, initial=-np.inf)
    return (vaw - low) / np.where(high > low, high - low, 1.0)


def register(vaw: Float[np.ndarray, "*S L"], receptive_offset: float) -> Float[np.ndarray, "*S L"]:
    """Move a hidden layer's map to the input channels that its features are centred on.

    Value i is drawn at channel i + receptive_offset (linear interpolation for half channels). Channels below the first
    feature have no value of their own and are NaN; features beyond the last channel describe padding and drop out.
    """
    length = vaw.shape[-1]
    source = np.arange(length) - receptive_offset
    below = np.clip(np.floor(source).astype(int), 0, length - 1)
    above = np.clip(below + 1, 0, length - 1)
    fraction = source - np.floor(source)
    moved = (1 - fraction) * vaw[..., below] + fraction * vaw[..., above]
    return np.where((source >= 0) & (source <= length - 1), moved, np.nan)


@dataclasses.dataclass(frozen=True)
class Vaw:
    """VAW of a series by every seed of a run.

    Attributes:
      axis: [L] positions of the input channels, in axis units.
      raw: [S, T, L] maximum over keys at query index, as the network gives it.
      receptive_offset: channels by which query i is centred to the right of input channel i.
    """

    axis: np.ndarray
    raw: np.ndarray
    receptive_offset: float

    def standardised(self) -> Float[np.ndarray, "S T L"]:
        """Return the maps with each pattern 0…1, at query index."""
        return standardise(self.raw)

    def registered(self) -> Float[np.ndarray, "S T L"]:
        """Return the maps with each pattern 0…1, at input channels; NaN where no feature is centred."""
        return register(self.standardised(), self.receptive_offset)


def window_shares(
    axis: Float[np.ndarray, " L"], curve: Float[np.ndarray, " L"], windows: Mapping[str, tuple[float, float]]
) -> dict[str, dict[str, float]]:
    """Return what a mean map says about named windows (low, high).

    Returns:
      name -> {'mean': mean height, 'max': peak height, 'share': part of the map's area}; NaN where a window is empty.
    """
    total, shares = np.nansum(curve), {}
    for name, (low, high) in windows.items():
        inside = curve[(axis >= low) & (axis <= high) & np.isfinite(curve)]
        if inside.size:
            share = float(inside.sum() / total) if total > 0 else float("nan")
            shares[name] = {"mean": float(inside.mean()), "max": float(inside.max()), "share": share}
        else:
            shares[name] = dict.fromkeys(("mean", "max", "share"), float("nan"))
    return shares
