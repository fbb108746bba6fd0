"""`--mode=predict`: a finished run says what it thinks of new patterns, how sure it is, and if it should be asked."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from xrd_jax import files
from xrd_jax.analysis import novelty, resample
from xrd_jax.analysis.collect import Predictions, collect
from xrd_jax.analysis.metrics import scores
from xrd_jax.analysis.run import Run, open_run
from xrd_jax.commands import columns
from xrd_jax.errors import UserError
from xrd_jax.figures import predictions as figures_predictions
from xrd_jax.figures import style
from xrd_jax.files import claim
from xrd_jax.io import new_data
from xrd_jax.preprocessing.targets import TargetSpec

Echo = Callable[[str], None]
MOST_FIGURES = 6


def predict(
    workdir: str | Path,
    data: str | Path,
    out: str | Path | None = None,
    data_root: str | None = None,
    overwrite: bool = False,
    cache: bool = True,
    progress: bool = False,
    say: Echo = lambda line: None,
) -> list[Predictions]:
    """Predicts new patterns and writes predictions.csv, vaw.npz, summary.json and figures.

    Args:
      data: a pattern file, a folder, an experiment file or a saved series.
      out: where to write; RUN/predict-<name of the data> by default.
      overwrite: replace earlier predictions there.

    Raises:
      UserError: no run, nothing that can be read, only axes that do not fit, or a directory that is taken.
    """
    run = open_run(workdir)
    name = Path(data).resolve().name if Path(data).is_dir() else Path(data).name.split("::")[0].rsplit(".", 1)[0]
    home = claim(Path(out) if out else run.path / f"predict-{name}", "predictions.csv", overwrite, "--out")
    known = novelty.load(run, say, progress)
    found = new_data.read(data, data_root, cache, progress)
    said = list(found.said)
    for line in said:
        say(line)
    outcomes = []
    for batch, fit in _fitting(run, known, found, said, say):
        outcomes.append(collect(run, known, batch, fit))
        for line in _findings(run, known, outcomes[-1]):
            said.append(line)
            say(line)
    if found.refused:
        said.append(f"{len(found.refused)} files could not be read, such as {found.refused[0][1]}")
        say(said[-1])
    _write(run, known, home, outcomes, str(data), said, found)
    say(f"predictions, maps and figures: {home}")
    return outcomes


def _fitting(
    run: Run, known: novelty.Reference | None, found: new_data.Incoming, said: list[str], say: Echo
) -> Iterator[tuple[new_data.Batch, resample.Fit]]:
    """The batches whose axis fits; the others are told, and refused where there is no other."""
    trained = np.asarray(run.statistics.axis, np.float64)
    axis = None if known is None else known.axis
    count = 0
    for batch in found.batches:
        fit: resample.Fit | None = None
        try:
            fit = resample.fit(trained, axis, batch.positions, batch.kind, batch.wavelength, batch.title)
        except UserError as error:
            if batch is found.batches[-1] and not count:
                raise
            lines: Sequence[str] = (f"{len(batch)} pattern{'s' if len(batch) > 1 else ''} left out: {error}",)
        else:
            lines = fit.said
        for line in lines:
            said.append(line)
            say(line)
        if fit is not None:
            count += 1
            yield batch, fit


def _measured(spec: TargetSpec, batch: new_data.Batch) -> np.ndarray | None:
    """[T] measured values of a target in the run's terms, where the data have it alike."""
    target = batch.targets.get(spec.name)
    if target is None or target.kind != spec.kind or target.unit != spec.unit:
        return None
    if spec.kind != "regression" and tuple(target.classes) != spec.classes:
        return None
    return target.values


def _findings(run: Run, known: novelty.Reference | None, outcome: Predictions) -> list[str]:
    """Sentences about a batch: what was predicted, how well where that can be known, and how unusual it is."""
    batch, found = outcome.batch, []
    for spec in run.specs:
        values = outcome.outputs[spec.name]
        if spec.kind == "regression":
            mean = values.mean(axis=0)
            text = f"{np.nanmin(mean):.4g} to {np.nanmax(mean):.4g} {spec.unit}".rstrip()
        else:
            counts = np.bincount(values.mean(axis=0).argmax(axis=-1), minlength=spec.size)
            text = ", ".join(f"{name} {n}" for name, n in zip(spec.classes, counts, strict=True) if n)
        if (truth := _measured(spec, batch)) is not None:
            score = scores(spec, values, truth)
            kind = "mae" if spec.kind == "regression" else "accuracy"
            said = score[kind]["mean"]
            text += f"; against the measured: {'MAE' if kind == 'mae' else kind} {said:.4g} {spec.unit}".rstrip()
        found.append(f"{batch.title}: {spec.name} {text}.")
    if known is not None:
        far = int(np.count_nonzero(outcome.distance > 1))
        line = f"{far} of {len(batch)} patterns are unlike all training patterns"
        usual = f"(distance above 1, as for {100 * novelty.ALARM:g} % of the verification patterns)"
        doubt = far > max(2, 5 * novelty.ALARM * len(batch))
        tail = f"; median distance {np.median(outcome.distance):.2g}. Doubt their predictions." if doubt else "."
        found.append(f"{batch.title}: {'WARNING: ' if doubt else ''}{line} {usual}{tail}")
    return found


def _write(
    run: Run, known: novelty.Reference | None, home: Path, outcomes: Sequence[Predictions], data: str,
    said: list[str], found: new_data.Incoming,
) -> None:  # fmt: skip
    arrays: dict[str, np.ndarray] = {"axis": run.axis}
    for number, one in enumerate(outcomes, 1):
        end = "" if number == 1 else f"_{number}"
        arrays |= {f"maps{end}": one.maps, f"kept{end}": one.kept, f"per_seed{end}": one.curves}
        if number <= MOST_FIGURES:
            figure = figures_predictions.predictions(run, known, one)
            style.save(figure, home / "figures", f"predictions{end}", files.write_bytes)
    files.write_npz(home / "vaw.npz", **arrays)
    files.write_json(
        home / "summary.json",
        {"run": str(run.path.resolve()), "identity": novelty.identity(run), "data": data,
         "seeds": run.config.seed_list(), "said": said,
         "batches": [{"title": one.batch.title, "patterns": len(one.batch), "axis": one.batch.kind,
                      "wavelength": one.batch.wavelength, "unusual": int(np.count_nonzero(one.distance > 1)),
                      "median_distance": float(np.median(one.distance))} for one in outcomes],
         "refused": [{"file": str(file), "why": why} for file, why in found.refused]},
    )  # fmt: skip
    # Last, so that a directory with predictions in it is complete.
    files.write_parts(home / "predictions.csv", itertools.chain([_header(run, outcomes)], _lines(run, outcomes)))


def _header(run: Run, outcomes: Sequence[Predictions]) -> bytes:
    names = ["pattern", "start_time", "time_s"]
    for spec in run.specs:
        known = any(_measured(spec, one.batch) is not None for one in outcomes)
        names += [*([spec.name] if known else []), *columns.headings(spec)]
    return files.lines([[*names, "distance", "unusual"]])


def _lines(run: Run, outcomes: Sequence[Predictions], size: int = 4096) -> Iterator[bytes]:
    """Rows of predictions.csv, some thousand at a time."""
    known = {s.name for s in run.specs if any(_measured(s, one.batch) is not None for one in outcomes)}
    for one, begin in [(done, at) for done in outcomes for at in range(0, len(done.batch), size)]:
        batch, here = one.batch, slice(begin, begin + size)
        count = len(batch.names[here])
        time = [""] * count if batch.time is None else [f"{t:.3f}" for t in batch.time[here]]
        table: list[Sequence[str]] = [batch.names[here], batch.dates[here], time]
        for spec in run.specs:
            if spec.name in known:
                table.append(_truth(spec, batch, here, count))
            value, deviation, probability = columns.cells(spec, one.outputs[spec.name][:, here])
            table += [value, deviation] if spec.kind == "regression" else [value, deviation, probability]
        distance = one.distance[here]
        table += [[f"{d:.3g}" for d in distance], ["" if np.isnan(d) else str(int(d > 1)) for d in distance]]
        yield files.lines(zip(*table, strict=True))


def _truth(spec: TargetSpec, batch: new_data.Batch, here: slice, count: int) -> list[str]:
    truth = _measured(spec, batch)
    if truth is None:
        return [""] * count
    return [f"{v:.6g}" if spec.kind == "regression" else spec.classes[int(v)] for v in truth[here]]
