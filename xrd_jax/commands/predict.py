"""`--mode=predict`: what a finished run says of new patterns, how sure it is, and whether it should be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax import files
from xrd_jax.analysis import intervals, novelty, resample
from xrd_jax.analysis.collect import Predictions, collect
from xrd_jax.analysis.metrics import ensemble_values, scores
from xrd_jax.analysis.run import Run, open_run
from xrd_jax.commands import tables
from xrd_jax.commands.page import write_of_predictions
from xrd_jax.errors import UserError
from xrd_jax.estimators.program import bounded_lines
from xrd_jax.figures import calibration as calibration_figures
from xrd_jax.figures import style
from xrd_jax.figures.predictions import predictions as draw_predictions
from xrd_jax.io import new_data
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.runtime.console import SILENT, Console
from xrd_jax.training.workdir import pattern_columns

MAX_FIGURES = 6  # of the largest batches; a folder may hold hundreds of axes


def predict(
    workdir: str | Path, data: str | Path, out: str | Path | None = None, data_root: str | None = None,
    overwrite: bool = False, cache: bool = True, console: Console = SILENT, page: bool = False,
) -> list[Predictions]:  # fmt: skip
    """Predict new patterns and write predictions.csv, vaw.npz, summary.json and figures.

    Args:
      data: a pattern file, a folder, an experiment file or a saved series.
      out: where to write; RUN/predict-<name of the data> by default.
      overwrite: replace earlier predictions there.
      cache: keep what many pattern files held, so that they read at once the next time.
      page: write report.html of the largest batch too.

    Raises:
      UserError: no run, nothing that can be read, only axes that do not fit, or a directory that is taken.
    """
    run = open_run(workdir)
    name = Path(data).resolve().name if Path(data).is_dir() else Path(data).name.split("::")[0].rsplit(".", 1)[0]
    folder = Path(out) if out else run.path / f"predict-{name}"
    files.claim_directory(folder, "predictions.csv", overwrite, "--out")
    reference, calibration = novelty.load(run, console), intervals.load(run.path)
    messages: list[str] = []

    def report(line: str) -> None:
        messages.append(line)
        console.echo(line)

    if calibration is not None and (refusal := calibration.refusal(intervals.LEVEL)):
        report(f"no interval can be promised at {100 * intervals.LEVEL:g} %: {refusal}")
    columns = () if Path(data).suffix.lower() == ".toml" else pattern_columns(run.path)
    new = new_data.read(data, data_root, cache, console.progress, columns)
    for line in new.messages:
        report(line)
    batches = _predict_batches(run, reference, new.batches, report)
    if new.refused:
        report(f"{len(new.refused)} files could not be read, such as {new.refused[0][1]}")
    if not run.map_axis.size:
        report(f"{run.config.train.estimator} has no attention: there is no vaw.npz, and no figure shows it")
    _write_maps(run, reference, folder, batches)
    refused = [{"file": str(file), "why": reason} for file, reason in new.refused]
    files.write_json(folder / "summary.json", _summary(run, str(data), messages, batches) | {"refused": refused})
    if page:
        measured = {spec.name: _measured(spec, batches[0].batch) for spec in run.specs}
        axis = None if reference is None else reference.axis
        console.echo(f"to look at: {write_of_predictions(run, axis, folder, batches[0], measured, messages)}")
    # Last, so that a directory with predictions in it is complete.
    files.write_csv(folder / "predictions.csv", _rows(run, calibration, batches))
    console.echo(f"predictions, maps and figures: {folder}")
    return batches


def _predict_batches(
    run: Run, reference: novelty.Reference | None, batches: Sequence[new_data.Batch], report: Callable[[str], None]
) -> list[Predictions]:
    """Predict the batches whose axis fits; report the others, and refuse them where there is no other."""
    trained = np.asarray(run.statistics.axis, np.float64)
    axis = None if reference is None else reference.axis
    predictions: list[Predictions] = []
    for batch in batches:
        try:
            fit = resample.fit_axis(trained, axis, batch.positions, batch.kind, batch.wavelength, batch.title)
        except UserError as error:
            if batch is batches[-1] and not predictions:
                raise
            report(f"{len(batch)} pattern{'s' if len(batch) > 1 else ''} left out: {error}")
            continue
        for line in fit.messages:
            report(line)
        predictions.append(collect(run, reference, batch, fit))
        for line in _findings(run, reference, predictions[-1]):
            report(line)
    return predictions


def _findings(run: Run, reference: novelty.Reference | None, predicted: Predictions) -> Iterator[str]:
    """Yield sentences: what was predicted, how well where that can be known, and how unusual the patterns are."""
    batch = predicted.batch
    for spec in run.specs:
        yield f"{batch.title}: {spec.name} {_prediction_text(spec, predicted)}."
    if run.choice is not None:
        first_seed = {name: values[0] for name, values in predicted.outputs.items()}
        yield from (f"{batch.title}: {line}" for line in bounded_lines(run.choice, first_seed))
    if reference is not None:
        count = int(np.count_nonzero(predicted.is_unusual))
        line = f"{count} of {len(batch)} patterns are unlike all training patterns"
        measures = ["distance"] if reference.model is None else ["distance", "residual"]
        rate = len(measures) * novelty.FALSE_ALARM_RATE  # at most, when no pattern exceeds both
        usual = f"({' or '.join(measures)} above 1, as for {100 * rate:g} % of the held-out patterns at most)"
        is_doubtful = count > max(2, 5 * rate * len(batch))
        median = f"; median distance {np.median(predicted.distance):.2g}. Doubt their predictions."
        yield f"{batch.title}: {'WARNING: ' if is_doubtful else ''}{line} {usual}{median if is_doubtful else '.'}"


def _prediction_text(spec: TargetSpec, predicted: Predictions) -> str:
    values = predicted.outputs[spec.name]
    if spec.kind == "regression":
        mean = ensemble_values(spec, values, predicted.distributions.get(spec.name))
        text = f"{np.nanmin(mean):.4g} to {np.nanmax(mean):.4g} {spec.unit}".rstrip()
    else:
        counts = np.bincount(values.mean(axis=0).argmax(axis=-1), minlength=spec.size)
        text = ", ".join(f"{name} {count}" for name, count in zip(spec.classes, counts, strict=True) if count)
    measured = _measured(spec, predicted.batch)
    if measured is None:
        return text
    return f"{text}; against the measured: {_error_text(spec, values, measured, predicted.was_trained_on)}"


def _error_text(spec: TargetSpec, values: np.ndarray, measured: np.ndarray, was_trained_on: np.ndarray | None) -> str:
    """Return the error of patterns that training did not see, and apart from it that of those that it saw."""
    kind, label = ("mae", "MAE") if spec.kind == "regression" else ("accuracy", "accuracy")

    def error(rows: np.ndarray) -> str:
        return f"{label} {scores(spec, values[:, rows], measured[rows])[kind]['mean']:.4g} {spec.unit}".rstrip()

    if was_trained_on is None:
        return f"{error(np.ones(len(measured), bool))} (which of them were trained on is not known)"
    seen = int(np.count_nonzero(was_trained_on))
    if not seen:
        return error(~was_trained_on)
    trained = f"{error(was_trained_on)} over {seen} patterns that were trained on, which says nothing of new ones"
    if seen == len(measured):
        return trained
    return f"{error(~was_trained_on)} over {len(measured) - seen} patterns that were not trained on; {trained}"


def _measured(spec: TargetSpec, batch: new_data.Batch) -> np.ndarray | None:
    """Return [T] measured values of a target in the run's terms, where the data have it alike."""
    target = batch.targets.get(spec.name)
    if target is None or target.kind != spec.kind or target.unit != spec.unit:
        return None
    if spec.kind != "regression" and tuple(target.classes) != spec.classes:
        return None
    return target.values


def _write_maps(run: Run, reference: novelty.Reference | None, folder: Path, batches: Sequence[Predictions]) -> None:
    arrays: dict[str, np.ndarray] = {"axis": run.axis}
    for number, predicted in enumerate(batches, 1):
        end = "" if number == 1 else f"_{number}"
        arrays |= {
            f"maps{end}": predicted.maps,
            f"kept{end}": predicted.map_indices,
            f"per_seed{end}": predicted.curves,
        }
        if number <= MAX_FIGURES:
            figure = draw_predictions(run, reference, predicted)
            style.save(figure, folder / "figures", f"predictions{end}")
            if reference is not None and reference.model is not None:
                kinds = {
                    "held out": (reference.distances(run, reference.examples), reference.residuals(reference.examples)),
                    "new": (predicted.distance, predicted.residual),
                }
                style.save(calibration_figures.novelty(kinds), folder / "figures", f"novelty{end}")
    if run.map_axis.size:
        files.write_npz(folder / "vaw.npz", **arrays)


def _summary(run: Run, data: str, messages: list[str], batches: Sequence[Predictions]) -> dict[str, Any]:
    return {
        "run": str(run.path.resolve()), "identity": novelty.identity(run), "data": data,
        "seeds": run.config.seed_list(), "said": messages,
        "batches": [
            {"title": predicted.batch.title, "patterns": len(predicted.batch), "axis": predicted.batch.kind,
             "wavelength": predicted.batch.wavelength, "unusual": int(np.count_nonzero(predicted.is_unusual)),
             "median_distance": float(np.median(predicted.distance)),
             "median_residual": float(np.median(predicted.residual))} for predicted in batches],
    }  # fmt: skip


def _rows(
    run: Run, calibration: intervals.Calibration | None, batches: Sequence[Predictions]
) -> Iterator[Sequence[object]]:
    """Yield the header and a row per pattern; a measured target has a column where any batch has it."""
    measured = {s.name for s in run.specs if any(_measured(s, predicted.batch) is not None for predicted in batches)}
    headings = ["pattern", "start_time", "time_s"]
    for spec in run.specs:
        headings += [*([spec.name] if spec.name in measured else []), *tables.prediction_headings(spec)]
        headings += tables.interval_headings(spec, calibration)
    yield [*headings, "distance", "residual", "unusual"]
    for predicted in batches:
        for begin in range(0, len(predicted.batch), tables.ROWS_AT_ONCE):
            block = slice(begin, begin + tables.ROWS_AT_ONCE)
            yield from zip(*_columns(run, calibration, predicted, block, measured), strict=True)


def _columns(
    run: Run, calibration: intervals.Calibration | None, predicted: Predictions, block: slice, measured: set[str]
) -> list[Sequence[object]]:
    batch, distance, unusual = predicted.batch, predicted.distance[block], predicted.is_unusual[block]
    outputs = {name: values[:, block] for name, values in predicted.outputs.items()}
    names = batch.names[block]
    time = [""] * len(names) if batch.time is None else [f"{t:.3f}" for t in batch.time[block]]
    columns: list[Sequence[object]] = [names, batch.dates[block], time]
    for spec in run.specs:
        if spec.name in measured:
            values = _measured(spec, batch)
            columns.append([""] * len(names) if values is None else tables.measured_column(spec, values[block]))
        distribution = predicted.distributions[spec.name][block] if spec.is_distribution else None
        columns += tables.prediction_columns(spec, outputs[spec.name], distribution)
        columns += tables.interval_columns(spec, calibration, outputs, distribution, unusual)
    novelties = [[f"{value:.3g}" for value in values] for values in (distance, predicted.residual[block])]
    flags = ["" if np.isnan(value) else str(int(flag)) for value, flag in zip(distance, unusual, strict=True)]
    return [*columns, *novelties, flags]
