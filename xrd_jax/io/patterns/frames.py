"""Detector frames (.cbf, .edf, .tif) integrated to 2θ by pyFAI with the calibration in a .poni file.

The calibration is the .poni of the frame's own name, else the only .poni in its folder, else the one written after two
colons: `frame.cbf::geometry.poni`. Pixels below zero, and those that the detector's description masks, are left out.
"""

import functools
import logging
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.dates import parse_datetime
from xrd_jax.io.parsing.hdf5 import split_inner_path
from xrd_jax.io.parsing.plugins import import_extra
from xrd_jax.io.parsing.text import refusing
from xrd_jax.io.patterns.pattern import Pattern, make_pattern, parse_positive

_MAX_PIXELS = 40_000_000
_MAX_FRAMES = 2000
_MIN_CHANNELS, _MAX_CHANNELS = 16, 20_000
_TIFF = (b"II*\x00", b"MM\x00*")
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?")
_EXPOSURE = re.compile(r"Exposure_time\s+([\d.eE+-]+)\s*s\b")


def recognises(head: bytes, path: Path) -> bool:
    """Return whether the file is CBF or TIFF by its signature, or EDF by its brace and keys."""
    is_edf = head.lstrip()[:1] == b"{" and re.search(rb"\b(Dim_1|EDF_|HeaderID|ByteOrder)\b", head) is not None
    return head.startswith((b"###CBF", *_TIFF)) or is_edf


def read(path: Path, allow_negative: bool) -> Iterator[Pattern]:
    """Integrate every frame of a file over all azimuths, corrected for solid angle.

    Errors are Poisson's where the pixels are integers. Axis: 2θ in degrees, as many channels as the farthest pixel is
    pixels away from the beam.
    """
    file, named_poni = split_inner_path(path)
    poni = _find_calibration(file, named_poni)
    complaint = f"{file}: a detector frame; integrating it needs pip install 'xrd_jax[beamline]'"
    fabio, pyfai = import_extra("fabio", complaint), import_extra("pyFAI", complaint)
    _check_declared_size(file)
    logging.getLogger("fabio").setLevel(logging.CRITICAL)
    # The libraries raise whatever their parsers meet.
    with refusing(f"{poni}: is no pyFAI calibration", "make it again with pyFAI-calib2"):
        integrator = _load_integrator(str(poni), poni.stat().st_mtime_ns, pyfai)
    with refusing(f"{path}: the frame cannot be decoded", "copy it again"), fabio.open(str(file)) as image:
        if image.nframes > _MAX_FRAMES:
            raise UserError(f"{path}: holds {image.nframes} frames; keep up to {_MAX_FRAMES} per file")
        for number, frame in enumerate(image.frames(), 1):
            yield _integrate(frame, integrator, f"{path}: frame {number}", poni, allow_negative)


def _find_calibration(file: Path, name: str) -> Path:
    if name:
        poni = next((path for path in (Path(name), file.parent / name) if path.is_file()), None)
        if poni is None:
            raise UserError(f"{file}: there is no calibration {name}; name the .poni file after ::")
        return poni
    namesake = file.with_suffix(".poni")
    candidates = [namesake] if namesake.is_file() else sorted(file.parent.glob("*.poni"))
    if len(candidates) != 1:
        count = f"{len(candidates)} .poni files lie" if candidates else "no .poni file lies"
        remedy = f"name its calibration as {file.name}::file.poni"
        raise UserError(f"{file}: a detector frame, but {count} beside it; {remedy}")
    return candidates[0]


@functools.lru_cache(maxsize=2)
def _load_integrator(poni: str, modified: int, pyfai: Any) -> Any:
    """Kept between the frames of a series: its look-up table costs a hundred times what a frame does."""
    return pyfai.load(poni)


def _integrate(frame: Any, integrator: Any, source: str, poni: Path, allow_negative: bool) -> Pattern:
    image = np.asarray(frame.data)
    if image.ndim != 2 or image.size > _MAX_PIXELS or image.dtype.kind not in "iuf":
        raise UserError(f"{source}: an array {image.shape} is no detector frame; export it as a single image")
    shape = integrator.detector.shape
    if shape is not None and tuple(shape) != image.shape:
        sizes = f"{image.shape} pixels where {poni.name} describes {tuple(shape)}"
        raise UserError(f"{source}: has {sizes}; name its own .poni")
    mask = (image < 0) if image.dtype.kind == "i" else ~np.isfinite(image) | (image < 0)
    if integrator.mask is not None:
        mask |= np.asarray(integrator.mask, bool)
    result = integrator.integrate1d(
        image, _channel_count(integrator, image.shape), unit="2th_deg", mask=mask,
        error_model="poisson" if image.dtype.kind in "iu" else None, method=("bbox", "csr", "cython"),
    )  # fmt: skip
    is_filled = np.asarray(result.count) > 0
    axis, intensity = (np.asarray(column)[is_filled] for column in (result.radial, result.intensity))
    metadata = {str(key)[:100]: str(value)[:2000] for key, value in list(dict(frame.header).items())[:200]}
    # Start and exposure stand somewhere in the header, as detectors write them into frames.
    text = "\n".join(metadata.values())
    date, exposure = _ISO_DATE.search(text), _EXPOSURE.search(text)
    return make_pattern(
        source, axis, intensity, allow_negative, None if result.sigma is None else np.asarray(result.sigma)[is_filled],
        notes=("the frame was integrated over all azimuths by pyFAI",), kind="two_theta",
        wavelength=None if integrator.wavelength is None else float(integrator.wavelength) * 1e10,
        start_time=parse_datetime(date[0]) if date else None,
        exposure=parse_positive(exposure[1]) if exposure else None, metadata=metadata | {"calibration": poni.name},
    )  # fmt: skip


def _channel_count(integrator: Any, shape: tuple[int, ...]) -> int:
    """The distance in pixels from the beam to the farthest corner, within reason."""
    centre = [integrator.poni1 / integrator.pixel1, integrator.poni2 / integrator.pixel2]
    distances = [max(abs(c), abs(size - c)) for c, size in zip(centre, shape, strict=True)]
    return min(max(int(np.hypot(*distances)), _MIN_CHANNELS), _MAX_CHANNELS)


def _check_declared_size(file: Path) -> None:
    """Compare what a header declares with what a detector can have, before a decoder allocates it."""
    with file.open("rb") as stream:
        head = stream.read(65536)
    sizes = [int(n) for n in re.findall(rb"(?:Dim_[12]|Size-(?:Fastest|Second)-Dimension)\s*[:=]\s*(\d{1,12})", head)]
    counts = [int(n) for n in re.findall(rb"Number-of-Elements:\s*(\d{1,15})", head)]
    if head[:4] in _TIFF:
        sizes = _tiff_sizes(head)
    pixels = max([sizes[0] * sizes[1] if len(sizes) > 1 else 0, *counts])
    if pixels > _MAX_PIXELS:
        fault = f"declares {pixels} pixels, more than any detector has"
        raise UserError(f"{file}: {fault}; the file is damaged: copy it again")


def _tiff_sizes(head: bytes) -> list[int]:
    """Width and height (tags 256 and 257) from the first directory, where it lies within `head`."""
    order = "<" if head[:2] == b"II" else ">"
    sizes = {}
    try:
        (directory,) = struct.unpack_from(order + "I", head, 4)
        (count,) = struct.unpack_from(order + "H", head, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, field_type, _ = struct.unpack_from(order + "HHI", head, entry)
            number = {3: "H", 4: "I"}.get(field_type)
            if number and tag in (256, 257):
                sizes[tag] = struct.unpack_from(order + number, head, entry + 8)[0]
    except struct.error:
        return []
    return list(sizes.values())
