"""Arrays as text that a browser unpacks: fewer bits, deflate, base64, inside JSON that no name can break out of."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import numpy as np

from xrd_jax.files import finite_or_null
from xrd_jax.page.content import Content, TargetPanel, View

SIXTEEN_BITS_BELOW = 1 << 20  # values up to which intensities have 65 536 steps; above, 256
NO_VALUE = 255  # of a map's byte; 0 to 254 are the map from 0 to 1


def packed(values: np.ndarray) -> dict[str, Any]:
    """Return an array as its type, shape and deflated bytes, little-endian."""
    values = np.ascontiguousarray(values)
    values = values.astype(values.dtype.newbyteorder("<"))
    data = base64.b64encode(zlib.compress(values.tobytes(), 6)).decode()
    return {"type": values.dtype.name, "shape": values.shape, "data": data}


def packed_intensity(intensity: np.ndarray) -> dict[str, Any]:
    """Return intensities in even steps of their square root, sign kept: fine where counting noise is small.

    value = root · |root| with root = low + step · code.
    """
    root = np.sign(intensity) * np.sqrt(np.abs(intensity))
    low, high = float(root.min(initial=0.0)), float(root.max(initial=0.0))
    kind, top = (np.uint16, 65535) if intensity.size <= SIXTEEN_BITS_BELOW else (np.uint8, 255)
    step = (high - low) / top or 1.0
    return {"low": low, "step": step, "code": packed(np.rint((root - low) / step).astype(kind))}


def packed_map(values: np.ndarray) -> dict[str, Any]:
    """Return a map of 0 to 1 as bytes, `NO_VALUE` where it is NaN."""
    codes = np.rint(np.clip(np.nan_to_num(values), 0.0, 1.0) * (NO_VALUE - 1))
    return packed(np.where(np.isnan(values), NO_VALUE, codes).astype(np.uint8))


def _target(panel: TargetPanel) -> dict[str, Any]:
    arrays = {name: getattr(panel, name) for name in ("predicted", "measured", "low", "high")}
    record: dict[str, Any] = {k: None if v is None else packed(v.astype(np.float32)) for k, v in arrays.items()}
    record |= {"name": panel.name, "unit": panel.unit, "classes": panel.classes, "band": panel.band, "span": panel.span}
    return record | {"probabilities": None if panel.probabilities is None else packed_map(panel.probabilities)}


def _view(item: View) -> dict[str, Any]:
    record: dict[str, Any] = {"name": item.name, "label": item.label}
    arrays = {"rows": item.rows.astype(np.int32), "position": item.position, "grid": item.grid}
    return record | {name: packed(values) for name, values in arrays.items()}


def record(content: Content) -> dict[str, Any]:
    """Return everything that the page's program reads, as JSON allows it."""
    axis = content.axis
    return {
        "axis": packed(axis.values), "kind": axis.kind, "wavelength": axis.wavelength, "axisLabel": axis.label,
        "intensity": packed_intensity(content.intensity), "intensityLabel": content.intensity_label,
        "names": list(content.names), "roles": packed(content.roles.astype(np.uint8)),
        "roleNames": content.role_names, "views": [_view(item) for item in content.views],
        "targets": [_target(panel) for panel in content.targets],
        "layers": {name: packed_map(values) for name, values in content.layers.items()},
        "measures": {name: packed(values.astype(np.float32)) for name, values in content.measures.items()},
        "reflections": [[name, float(position)] for name, position in content.reflections.items()],
    }  # fmt: skip


def as_script(values: Any) -> str:
    """Return JSON that stands safely inside a script element: no < or > is left to end it."""
    text = json.dumps(finite_or_null(values), separators=(",", ":"))  # ASCII: line separators are escaped too
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
