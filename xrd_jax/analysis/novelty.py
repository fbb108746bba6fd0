"""The reference of a run: training patterns that new ones are compared with, to see whether they are like none of them.

The measure is the distance to the nearest training pattern, after preparation: sqrt of the sum over the L channels of
squared differences. It needs no model of what patterns look like. Measured on the simulated cell, with a threshold
that one test pattern in a hundred exceeds: a zero offset of 0.02°, another cathode, a third of the photons, a foreign
peak of a tenth of the strongest, and voltages below the trained window are detected in 97 or more of 100 patterns. The
residual and the score distance of principal components miss 80 or more of 100 of the voltages; distances weighted by
the noise of each channel are no better. A foreign peak of a hundredth of the strongest is not detected by any of them.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Num

from xrd_jax import datasets, files
from xrd_jax.analysis import blocks
from xrd_jax.analysis.neighbours import nearest_distances
from xrd_jax.analysis.run import Run
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.preprocessing.prepare import Prepared, prepare
from xrd_jax.preprocessing.transform import Statistics, transform
from xrd_jax.runtime.console import Console
from xrd_jax.series.axis import Axis

FILE = "reference.npz"
MAX_PATTERNS = 2000  # training patterns kept, and test patterns that the threshold comes from
MAX_EXAMPLES = 16  # test patterns kept as they were measured
FALSE_ALARM_RATE = 0.01  # share of test patterns beyond the threshold
BLOCK = 64  # patterns prepared at once


@dataclasses.dataclass(frozen=True)
class Reference:
    """Training patterns to compare with.

    Attributes:
      patterns: [M, L] prepared training patterns, evenly spaced where there were more than `MAX_PATTERNS`.
      threshold: distance to the nearest of them that 1 % of the test patterns exceed.
      axis: of the training patterns as they were measured.
      examples: [E, N] test patterns as they were measured.
    """

    patterns: np.ndarray
    threshold: float
    axis: Axis
    examples: np.ndarray

    def distances(self, run: Run, patterns: Num[np.ndarray, "B N"]) -> Float[np.ndarray, " B"]:
        """Return the distance of patterns to the nearest training pattern, in units of the threshold.

        Above 1 a pattern is unusual; a pattern that preparation cannot make numbers of, such as an empty one under
        scaling by its sum, is infinitely far.
        """
        return nearest_distances(_network_inputs(run, patterns), self.patterns) / self.threshold


def save(run: Run, prepared: Prepared) -> Reference:
    """Make the reference of a run from its own data and write it into the run directory."""
    intensity = prepared.series.intensity
    patterns = _network_inputs(run, intensity[_thinned(prepared.train, MAX_PATTERNS)])
    distances = nearest_distances(_network_inputs(run, intensity[_thinned(prepared.test, MAX_PATTERNS)]), patterns)
    distances = distances[np.isfinite(distances)]
    scale = float(np.sqrt(np.mean(patterns.astype(np.float64) ** 2) * patterns.shape[1])) or 1.0
    # Patterns that repeat each other exactly would leave a threshold of 0.
    threshold = max(float(np.quantile(distances, 1 - FALSE_ALARM_RATE)) if distances.size else 0.0, 1e-6 * scale)
    examples = np.asarray(intensity[_thinned(prepared.test, MAX_EXAMPLES)], np.float32)
    axis = prepared.series.axis
    files.write_npz(
        run.path / FILE,
        patterns=patterns,
        threshold=threshold,
        axis=axis.values,
        kind=axis.kind,
        wavelength=np.nan if axis.wavelength is None else axis.wavelength,
        examples=examples,
        identity=_directory_identity(run.path),
    )
    return Reference(patterns, threshold, axis, examples)


def load(run: Run, console: Console) -> Reference | None:
    """Return the reference of a run, from its directory or made anew from its data; None, reported, without either."""
    if (reference := read_reference(run)) is not None:
        return reference
    try:
        series = datasets.load_for(run.config, True, console.progress)[0]
        record = json.loads((run.path / "config.json").read_text())
        prepared = prepare(series, run.config.prepare, run.config.split_seed)
        if prepared.series.fingerprint() != record["data"]["fingerprint"]:
            raise UserError("the data it was trained on are no longer the same")
    except UserError as error:
        console.echo(f"No distance to the training patterns can be given: {str(error).rstrip('.')}.")
        return None
    return save(run, prepared)


def read_reference(run: Run) -> Reference | None:
    """Return the reference in the run directory; None where it is missing, damaged or of another training."""
    try:
        with np.load(io.BytesIO((run.path / FILE).read_bytes()), allow_pickle=False) as file:
            if str(file["identity"]) != _directory_identity(run.path):
                return None
            wavelength = float(file["wavelength"])
            axis = Axis(file["axis"], str(file["kind"]), None if np.isnan(wavelength) else wavelength)
            return Reference(file["patterns"], float(file["threshold"]), axis, file["examples"])
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, UserError):
        return None


def identity(run: Run) -> str:
    """Return SHA-256 over parameters and preparation: what tells one training from another (hex, 64 characters)."""
    digest = hashlib.sha256(repr([dataclasses.astuple(spec) for spec in run.specs]).encode())
    for leaf in jax.tree.leaves((run.variables, run.statistics)):
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


def _directory_identity(path: Path) -> str:
    """Return what tells one run in a directory from another: its configuration, its data and its preparation."""
    digest = hashlib.sha256()
    for name in ("config.json", "preparation.npz"):
        digest.update((path / name).read_bytes())
    return digest.hexdigest()


def _thinned(indices: np.ndarray, max_count: int) -> np.ndarray:
    return indices[blocks.evenly_spaced(indices.size, max_count)]


def _network_inputs(run: Run, patterns: Num[np.ndarray, "B N"]) -> Float[np.ndarray, "B L"]:
    """Return network inputs; one pattern or blocks of `BLOCK`, so that two programs serve all."""

    def function(block: blocks.PatternBlock, statistics: Any) -> Any:
        return _transformed(statistics, run.config.prepare, block.intensity)

    size = 1 if len(patterns) == 1 else BLOCK
    parts = blocks.over_patterns(patterns, function, run.statistics, size, shared=False)
    return np.concatenate([inputs for _, inputs in parts])


@functools.partial(jax.jit, static_argnums=1)
def _transformed(statistics: Statistics, config: PrepareConfig, patterns: Array) -> Float[Array, "B L"]:
    return transform(statistics, config, patterns.astype(np.float32))
