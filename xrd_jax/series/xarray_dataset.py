"""A pattern series as an xarray Dataset, and back, with units and wavelength.

The Dataset has the dimensions `pattern` and the kind of the axis (`two_theta`, `q`, …). Variables: `intensity`
[pattern, axis] and one per target. Coordinates: the axis, `time`, `cycle`, `session` and, where it is known, the scalar
`wavelength`. Units are in `attrs['units']`, names of classes and of sessions in `attrs['classes']` and `['names']`.
What is no array (windows, reflections, provenance, masked ranges) is JSON in `attrs` of the Dataset, so that
`to_netcdf` writes all of it.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.series.axis import ANGSTROM_PER_UNIT, AXIS_UNITS, Axis, Target

INTENSITY, PATTERN, WAVELENGTH = "intensity", "pattern", "wavelength"
COUNTS = "counts"  # unit of intensities that are photon counts
NOTES = ("windows", "reflections", "provenance")


def to_dataset(fields: Mapping[str, Any]) -> Any:
    """Return the fields of a `PatternSeries` as an `xarray.Dataset`, in memory.

    Raises:
      UserError: xarray is not installed.
    """
    try:
        import xarray
    except ImportError:
        raise UserError("to_xarray needs xarray; pip install 'xrd_jax[xarray]'") from None
    axis: Axis = fields["axis"]
    wavelength = _wavelength_name(axis.kind)
    coordinates: dict[str, Any] = {
        axis.kind: (axis.kind, axis.values, {"units": axis.unit, "long_name": axis.label}),
        "time": (PATTERN, fields["time"], {"units": "s" if fields["timed"] else ""}),
        "cycle": (PATTERN, fields["cycle"]),
        "session": (PATTERN, fields["session"], {"names": list(fields["session_names"])}),
    }
    if axis.wavelength is not None:
        coordinates[wavelength] = ((), axis.wavelength, {"units": "angstrom"})
    units = {"units": COUNTS if fields["is_counts"] else "arbitrary"}
    variables: dict[str, Any] = {INTENSITY: ((PATTERN, axis.kind), np.asarray(fields["intensity"]), units)}
    taken = {PATTERN, wavelength, *coordinates, *variables}
    for name, target in fields["targets"].items():
        notes = {"units": target.unit, "kind": target.kind, "target": name, "classes": list(target.classes)}
        variables[f"target_{name}" if name in taken else name] = (PATTERN, target.values, notes)
    notes = {name: json.dumps(dict(fields[name])) for name in NOTES}
    return xarray.Dataset(variables, coordinates, notes | {"masked": json.dumps(axis.masked)})


def from_dataset(data: Any) -> dict[str, Any]:
    """Return the fields of a `PatternSeries` of what `to_dataset` made, or of another Dataset or DataArray.

    Of another one only intensities with the two dimensions are needed, one of them named after a kind of axis, with
    positions. `time` may be dates or durations. Further variables along the patterns become targets: numbers, or
    texts, which are classes.

    Raises:
      UserError: what is missing, or has a unit that is not the axis's.
    """
    data = data if hasattr(data, "data_vars") else data.to_dataset(name=INTENSITY)
    if INTENSITY not in data.data_vars:
        raise UserError(f"the Dataset has no variable '{INTENSITY}'; rename the one that holds the patterns")
    intensity = data[INTENSITY]
    kinds = [name for name in intensity.dims if name in AXIS_UNITS and name in data.coords]
    if intensity.ndim != 2 or len(kinds) != 1:
        raise UserError(
            f"'{INTENSITY}' has the dimensions {', '.join(intensity.dims)}; it needs two, one of them with positions "
            f"and named after the axis: {', '.join(AXIS_UNITS)}"
        )
    axis, pattern = _axis(data, kinds[0]), next(name for name in intensity.dims if name != kinds[0])
    count = data.sizes[pattern]
    fields = {
        "intensity": intensity.transpose(pattern, kinds[0]).values,
        "axis": axis,
        "is_counts": intensity.attrs.get("units") == COUNTS,
        "time": np.arange(count),
        "timed": "time" in data.coords and data["time"].attrs.get("units") != "",
        "cycle": np.zeros(count, int),
        "session": np.zeros(count, int),
    }
    fields |= {name: data[name].values for name in ("cycle", "session") if name in data.coords}
    if "time" in data.coords:
        fields["time"] = _seconds(data["time"].values)
    if "names" in data.get("session", data).attrs:
        fields["session_names"] = _texts(data["session"].attrs["names"])
    variables = [data[name] for name in data.data_vars if name != INTENSITY and data[name].dims == (pattern,)]
    fields["targets"] = {str(v.attrs.get("target", v.name)): _target(v) for v in variables}
    notes = {name: json.loads(data.attrs[name]) for name in NOTES if name in data.attrs}
    return fields | notes | {"windows": {name: tuple(ends) for name, ends in notes.get("windows", {}).items()}}


def _axis(data: Any, kind: str) -> Axis:
    unit = data[kind].attrs.get("units", AXIS_UNITS[kind])
    if unit != AXIS_UNITS[kind]:
        raise UserError(f"'{kind}' is in '{unit}'; convert it to '{AXIS_UNITS[kind]}' and say so in its units")
    masked, name, wavelength = json.loads(data.attrs.get("masked", "[]")), _wavelength_name(kind), None
    if name in data.coords:
        length = data[name]
        unit = str(length.attrs.get("units", "angstrom"))
        if unit.lower() not in ANGSTROM_PER_UNIT:
            raise UserError(f"'{name}' is in '{unit}'; convert it to 'angstrom' and say so in its units")
        wavelength = float(length) * ANGSTROM_PER_UNIT[unit.lower()]
    return Axis(data[kind].values, kind, wavelength, tuple((float(low), float(high)) for low, high in masked))


def _wavelength_name(kind: str) -> str:
    """Return the name of the radiation's wavelength, which an axis of wavelengths has already."""
    return f"radiation_{WAVELENGTH}" if kind == WAVELENGTH else WAVELENGTH


def _seconds(values: np.ndarray) -> np.ndarray:
    """Return times as numbers: dates count from the first, in seconds."""
    if values.dtype.kind == "M":
        values = values - values.min()
    return values / np.timedelta64(1, "s") if values.dtype.kind == "m" else values


def _target(variable: Any) -> Target:
    values, classes = variable.values, _texts(variable.attrs.get("classes", []))
    if values.dtype.kind in "OUT" and not classes:
        names, values = np.unique(values.astype(str), return_inverse=True)
        classes = _texts(names)
    kind = variable.attrs.get("kind", "classification" if classes else "regression")
    return Target(values, kind, str(variable.attrs.get("units", "")), classes)


def _texts(values: Any) -> tuple[str, ...]:
    """Return names as a tuple; netCDF gives back a single one without its list."""
    return (values,) if isinstance(values, str) else tuple(map(str, values))
