"""Detector frames (.cbf, .edf, .tif) integrated to 2θ by pyFAI with the calibration in a .poni file.

The calibration is the .poni of the frame's own name, else the only .poni in its folder, else the one written after two
colons: `frame.cbf::geometry.poni`. Pixels below zero, and those that the detector's description masks, are left out.
"""

from __future__ import annotations

import functools
import logging
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing import hdf5
from xrd_jax.io.patterns import pattern, times

_MOST_PIXELS = 40_000_000
_MOST_FRAMES = 2000
_TIFF = (b"II*\x00", b"MM\x00*")
_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?")
_EXPOSURE = re.compile(r"Exposure_time\s+([\d.eE+-]+)\s*s\b")


def recognises(head: bytes, path: Path) -> bool:
    """True for CBF and TIFF by their signatures, and for EDF by its brace and keys."""
    edf = head.lstrip()[:1] == b"{" and re.search(rb"\b(Dim_1|EDF_|HeaderID|ByteOrder)\b", head) is not None
    return head.startswith((b"###CBF", *_TIFF)) or edf


def read(path: Path, allow_negative: bool = False) -> tuple[pattern.Pattern, ...]:
    """Integrates every frame of a file over all azimuths, corrected for solid angle.

    Errors are Poisson's where the pixels are integers. Axis: 2θ in degrees, as many channels as the farthest pixel is
    pixels away from the beam.

    Raises:
      UserError: no calibration, several, one that does not fit, a damaged frame, or the extra `beamline` is missing.
    """
    file, named = hdf5.split(path)
    poni = _calibration(file, named)
    fabio, pyfai = _libraries(file)
    _refuse_too_large(file)
    logging.getLogger("fabio").setLevel(logging.CRITICAL)
    try:
        integrator = _integrator(str(poni), poni.stat().st_mtime_ns, pyfai)
    except Exception as error:  # the library raises whatever its parser meets
        raise UserError(f"{poni}: is no pyFAI calibration ({_short(error)}); make it again with pyFAI-calib2") from None
    try:
        with fabio.open(str(file)) as image:
            if image.nframes > _MOST_FRAMES:
                raise UserError(f"{path}: holds {image.nframes} frames; keep up to {_MOST_FRAMES} per file")
            found = [
                _integrated(frame, integrator, f"{path}: frame {i + 1}", poni, allow_negative)
                for i, frame in enumerate(image.frames())
            ]
    except UserError:
        raise
    except Exception as error:  # likewise: damaged frames surface as any exception
        raise UserError(f"{path}: the frame cannot be decoded ({_short(error)}); copy it again") from None
    return pattern.collect(found, path)


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:80] or type(error).__name__


def _calibration(file: Path, named: str) -> Path:
    if named:
        poni = next((p for p in (Path(named), file.parent / named) if p.is_file()), None)
        if poni is None:
            raise UserError(f"{file}: there is no calibration {named}; name the .poni file after ::")
        return poni
    own = file.with_suffix(".poni")
    beside = [own] if own.is_file() else sorted(file.parent.glob("*.poni"))
    if len(beside) != 1:
        count = f"{len(beside)} .poni files lie" if beside else "no .poni file lies"
        raise UserError(
            f"{file}: a detector frame, but {count} beside it; name its calibration as {file.name}::file.poni"
        )
    return beside[0]


def _libraries(file: Path) -> tuple[Any, Any]:
    try:
        import fabio
        import pyFAI
    except ImportError:
        raise UserError(f"{file}: a detector frame; integrating it needs pip install 'xrd_jax[beamline]'") from None
    return fabio, pyFAI


@functools.lru_cache(maxsize=2)
def _integrator(poni: str, changed: int, pyfai: Any) -> Any:
    """Kept between the frames of a series: its look-up table costs a hundred times what a frame does."""
    return pyfai.load(poni)


def _integrated(frame: Any, integrator: Any, place: str, poni: Path, allow_negative: bool) -> pattern.Pattern:
    image = np.asarray(frame.data)
    if image.ndim != 2 or image.size > _MOST_PIXELS or image.dtype.kind not in "iuf":
        raise UserError(f"{place}: an array {image.shape} is no detector frame; export it as a single image")
    shape = integrator.detector.shape
    if shape is not None and tuple(shape) != image.shape:
        raise UserError(
            f"{place}: has {image.shape} pixels where {poni.name} describes {tuple(shape)}; name its own .poni"
        )
    centre = [integrator.poni1 / integrator.pixel1, integrator.poni2 / integrator.pixel2]
    reach = [max(abs(c), abs(size - c)) for c, size in zip(centre, image.shape, strict=True)]
    masked = (image < 0) if image.dtype.kind == "i" else ~np.isfinite(image) | (image < 0)
    if integrator.mask is not None:
        masked |= np.asarray(integrator.mask, bool)
    result = integrator.integrate1d(
        image,
        min(max(int(np.hypot(*reach)), 16), 20_000),
        unit="2th_deg",
        mask=masked,
        error_model="poisson" if image.dtype.kind in "iu" else None,
        method=("bbox", "csr", "cython"),
    )
    filled = np.asarray(result.count) > 0
    errors = None if result.sigma is None else np.asarray(result.sigma, np.float64)[filled]
    wavelength = None if integrator.wavelength is None else float(integrator.wavelength) * 1e10
    facts = _stated(frame.header)
    return pattern.finish(
        place,
        np.asarray(result.radial, np.float64)[filled],
        np.asarray(result.intensity, np.float64)[filled],
        allow_negative,
        errors,
        kind="two_theta",
        wavelength=wavelength,
        notes=("the frame was integrated over all azimuths by pyFAI",),
        **facts | {"metadata": facts["metadata"] | {"calibration": poni.name}},
    )


def _stated(header: Any) -> dict[str, Any]:
    """Start and exposure as detectors write them into frames, and the header."""
    found = {str(key)[:100]: str(value)[:2000] for key, value in list(dict(header).items())[:200]}
    words = "\n".join(found.values())
    said = _EXPOSURE.search(words)
    stamp = _ISO.search(words)
    exposure = pattern.positive(said[1]) if said else None
    return {"start_time": times.parse(stamp[0]) if stamp else None, "exposure": exposure, "metadata": found}


def _refuse_too_large(file: Path) -> None:
    """Compares what a header declares with what a detector can have, before a decoder allocates it."""
    with file.open("rb") as stream:
        head = stream.read(65536)
    sizes = [int(n) for n in re.findall(rb"(?:Dim_[12]|Size-(?:Fastest|Second)-Dimension)\s*[:=]\s*(\d{1,12})", head)]
    counted = [int(n) for n in re.findall(rb"Number-of-Elements:\s*(\d{1,15})", head)]
    if head[:4] in _TIFF:
        sizes = _tiff_sizes(head)
    pixels = max([int(np.prod([float(n) for n in sizes[:2]])) if len(sizes) > 1 else 0, *counted])
    if pixels > _MOST_PIXELS:
        raise UserError(
            f"{file}: declares {pixels} pixels, more than any detector has; the file is damaged: copy it again"
        )


def _tiff_sizes(head: bytes) -> list[int]:
    """Width and height from the first directory, where it lies within `head`."""
    order = "<" if head[:2] == b"II" else ">"
    try:
        (at,) = struct.unpack_from(order + "I", head, 4)
        (count,) = struct.unpack_from(order + "H", head, at)
        entries = [struct.unpack_from(order + "HHI", head, at + 2 + 12 * i) for i in range(count)]
        values = {}
        for i, (tag, sort, _) in enumerate(entries):
            form = {3: "H", 4: "I"}.get(sort)
            if form and tag in (256, 257):
                values[tag] = struct.unpack_from(order + form, head, at + 2 + 12 * i + 8)[0]
        return list(values.values())
    except struct.error:
        return []
