"""What a run keeps of its training patterns, so that it can say later that a new pattern is like none of them.

The measure is the distance to the nearest training pattern, after preparation: sqrt of the sum over the L channels of
squared differences. It needs no model of what patterns look like. Measured on the simulated cell, with a threshold
that one verification pattern in a hundred exceeds: a zero offset of 0.02°, another cathode, a third of the photons, a
foreign peak of a tenth of the strongest, and voltages below the trained window are seen in 97 or more of 100 patterns.
The residual and the score distance of principal components miss 80 or more of 100 of the voltages; distances weighted
by the noise of each channel are no better. A foreign peak of a hundredth of the strongest is not seen by any of them.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from xrd_jax import files
from xrd_jax.analysis.neighbours import nearest
from xrd_jax.analysis.run import Run
from xrd_jax.errors import UserError
from xrd_jax.preprocessing import prepare
from xrd_jax.preprocessing import transform as preprocessing_transform
from xrd_jax.series import axis as series_axis

FILE = "reference.npz"
MOST = 2000  # training patterns kept, and verification patterns that the threshold comes from
EXAMPLES = 16
# This share of verification patterns lies beyond the threshold.
ALARM = 0.01


@dataclasses.dataclass(frozen=True)
class Reference:
    """Training patterns to compare with.

    Attributes:
      patterns: [M, L] prepared training patterns, evenly spaced where there were more than `MOST`.
      threshold: distance to the nearest of them that 1 % of the verification patterns exceed.
      axis: of the training patterns as they were measured.
      examples: [E, N] verification patterns as they were measured.
    """

    patterns: np.ndarray
    threshold: float
    axis: series_axis.Axis
    examples: np.ndarray

    def distances(self, run: Run, rows: np.ndarray) -> np.ndarray:
        """[B] distance of patterns [B, N] to the nearest training pattern, in units of the threshold.

        Above 1 a pattern is unusual; a pattern that preparation cannot make numbers of, such as an empty one under
        scaling by its sum, is infinitely far.
        """
        return nearest(_prepared(run, rows), self.patterns) / self.threshold


def save(run: Run, prepared: prepare.Prepared) -> Reference:
    """Makes the reference of a run from its own data and writes it into the run directory."""
    train, test = _thinned(prepared.train, MOST), _thinned(prepared.test, MOST)
    intensity = prepared.series.intensity
    patterns = _prepared(run, intensity[train])
    checked = nearest(_prepared(run, intensity[test]), patterns)
    finite = checked[np.isfinite(checked)]
    scale = float(np.sqrt(np.mean(patterns.astype(np.float64) ** 2) * patterns.shape[1])) or 1.0
    # Patterns that repeat each other exactly would leave a threshold of 0.
    threshold = max(float(np.quantile(finite, 1 - ALARM)) if finite.size else 0.0, 1e-6 * scale)
    examples = np.asarray(intensity[_thinned(prepared.test, EXAMPLES)], np.float32)
    found = Reference(patterns, threshold, prepared.series.axis, examples)
    files.write_npz(
        run.path / FILE,
        patterns=patterns,
        threshold=threshold,
        axis=found.axis.values,
        kind=found.axis.kind,
        wavelength=np.nan if found.axis.wavelength is None else found.axis.wavelength,
        examples=examples,
        identity=_identity(run.path),
    )
    return found


def load(run: Run, say: Callable[[str], None], progress: bool = False) -> Reference | None:
    """The reference of a run: as it was kept, else made from the run's own data; None, and said, without either."""
    if (found := _kept(run)) is not None:
        return found
    from xrd_jax import datasets

    try:
        own = datasets.load_for(run.config, True, progress)[0]
        record = json.loads((run.path / "config.json").read_text())
        made = prepare.prepare(own, run.config.prepare, run.config.split_seed)
        if made.series.fingerprint() != record["data"]["fingerprint"]:
            raise UserError("the data it was trained on are no longer the same")
    except UserError as error:
        say(f"No distance to the training patterns can be given: {str(error).rstrip('.')}.")
        return None
    return save(run, made)


def identity(run: Run) -> str:
    """SHA-256 over parameters and preparation: what tells one training from another (hex, 64 characters)."""
    digest = hashlib.sha256(repr([dataclasses.astuple(spec) for spec in run.specs]).encode())
    for leaf in jax.tree.leaves((run.variables, run.statistics)):
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


def _kept(run: Run) -> Reference | None:
    """What the run directory has; None where it is missing, damaged or of another training."""
    try:
        with np.load(io.BytesIO((run.path / FILE).read_bytes()), allow_pickle=False) as file:
            if str(file["identity"]) != _identity(run.path):
                return None
            wavelength = float(file["wavelength"])
            axis = series_axis.Axis(file["axis"], str(file["kind"]), None if np.isnan(wavelength) else wavelength)
            return Reference(file["patterns"], float(file["threshold"]), axis, file["examples"])
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, UserError):
        return None


def _identity(path: Path) -> str:
    """Tells one run in a directory from another: by its configuration, its data and its preparation."""
    digest = hashlib.sha256()
    for name in ("config.json", "preparation.npz"):
        digest.update((path / name).read_bytes())
    return digest.hexdigest()


def _thinned(indices: np.ndarray, most: int) -> np.ndarray:
    return indices[np.linspace(0, indices.size - 1, min(most, indices.size)).round().astype(int)]


def _prepared(run: Run, rows: np.ndarray, size: int = 64) -> np.ndarray:
    """[B, L] network inputs; one pattern or blocks of `size`, so that two programs serve all."""
    size = 1 if len(rows) == 1 else size
    parts = []
    for begin in range(0, len(rows), size):
        own = rows[begin : begin + size]
        short = np.pad(own, ((0, size - len(own)), (0, 0)), mode="edge")
        made = _transformed(run.statistics, run.config.prepare, preprocessing_transform.to_device(short))
        parts.append(np.asarray(made)[: len(own)])
    return np.concatenate(parts)


@functools.partial(jax.jit, static_argnums=1)
def _transformed(statistics, config, rows):
    return preprocessing_transform.transform(statistics, config, rows.astype(np.float32))
