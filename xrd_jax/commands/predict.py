"""`--mode=predict`: a finished run says what it thinks of new patterns, how sure it is, and if it should be asked."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from xrd_jax.analysis import novelty, resample, vaw
from xrd_jax.analysis.run import Run, open_run
from xrd_jax.commands import columns
from xrd_jax.commands.report import scores
from xrd_jax.errors import UserError
from xrd_jax.figures import predictions as figures_predictions
from xrd_jax.figures import run as figures_run
from xrd_jax.io import new_data
from xrd_jax.preprocessing.prepare import TargetSpec
from xrd_jax.series import record
from xrd_jax.training import workdir as training_workdir

Say = Callable[[str], None]
PIECE = 1024  # patterns that are in memory together
MOST_MAPS = 20_000  # maps kept; evenly spaced ones where there are more patterns
MOST_DRAWN = 2000  # patterns kept for the figure
MOST_FIGURES = 6


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run says about a batch.

    Attributes:
      outputs: target -> [S, T] or [S, T, K].
      distance: [T] to the nearest training pattern; above 1 a pattern is unusual. NaN where the run kept no reference.
      kept: [M] patterns whose maps `maps` [M, L] are kept: registered VAW, mean over seeds.
      curves: [S, L] registered VAW of every seed, mean over all patterns.
      drawn: [D] patterns whose intensities `picture` [D, N] are kept, on the run's axis.
    """

    batch: new_data.Batch
    outputs: dict[str, np.ndarray]
    distance: np.ndarray
    kept: np.ndarray
    maps: np.ndarray
    curves: np.ndarray
    drawn: np.ndarray
    picture: np.ndarray


def predict(
    workdir: str | Path,
    data: str | Path,
    out: str | Path | None = None,
    data_root: str | None = None,
    overwrite: bool = False,
    cache: bool = True,
    progress: bool = False,
    say: Say = lambda line: None,
) -> list[Outcome]:
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
    known = novelty.of(run, say, progress)
    found = new_data.read(data, data_root, cache, progress)
    said = list(found.said)
    for line in said:
        say(line)
    outcomes = []
    for batch, fit in _fitting(run, known, found, said, say):
        outcomes.append(look(run, known, batch, fit))
        for line in _findings(run, known, outcomes[-1]):
            said.append(line)
            say(line)
    if found.refused:
        said.append(f"{len(found.refused)} files could not be read, such as {found.refused[0][1]}")
        say(said[-1])
    _write(run, known, home, outcomes, str(data), said, found)
    say(f"predictions, maps and figures: {home}")
    return outcomes


def claim(home: Path, file: str, overwrite: bool, flag: str) -> Path:
    """A directory to write to, if nothing there would be lost.

    Raises:
      UserError: it is a file, cannot be written, or holds `file` or something else already.
    """
    if home.exists() and not home.is_dir():
        raise UserError(f"{home}: is a file; choose another {flag}")
    if (home / file).exists() and not overwrite:
        raise UserError(f"{home / file}: is there already; choose another {flag} or add --overwrite")
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / ".writable.partial"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"{home}: cannot be written ({error.strerror}); choose another {flag}") from None
    return home


def _fitting(
    run: Run, known: novelty.Reference | None, found: new_data.Incoming, said: list[str], say: Say
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


def look(run: Run, known: novelty.Reference | None, batch: new_data.Batch, fit: resample.Fit) -> Outcome:
    """Predictions, maps and distances of a batch; memory grows by the predictions alone once maps are thinned."""
    total, seeds = len(batch), run.config.seeds
    kept, drawn = _thinned(total, MOST_MAPS), _thinned(total, MOST_DRAWN)
    outputs = {s.name: np.empty((seeds, total, *((s.size,) if s.classes else ())), np.float32) for s in run.specs}
    distance = np.full(total, np.nan)
    maps, curves = np.empty((kept.size, run.axis.size), np.float32), np.zeros((seeds, run.axis.size))
    picture = np.empty((drawn.size, fit.trained.size), np.float32)
    for begin in range(0, total, PIECE):
        rows = fit(np.asarray(batch.intensity[begin : begin + PIECE]))
        here = slice(begin, begin + len(rows))
        found, weights = run.look(as_series(run, rows))
        for name, values in found.items():
            outputs[name][:, here] = values
        if known is not None:
            distance[here] = known.distances(run, rows)
        registered = vaw.Vaw(run.axis, weights.raw, run.model.lag).registered()
        curves += registered.sum(axis=1)
        first, last = np.searchsorted(kept, (here.start, here.stop))
        maps[first:last] = registered[:, kept[first:last] - begin].mean(axis=0)
        first, last = np.searchsorted(drawn, (here.start, here.stop))
        picture[first:last] = rows[drawn[first:last] - begin]
    return Outcome(batch, outputs, distance, kept, maps, curves / total, drawn, picture)


def as_series(run: Run, rows: np.ndarray) -> record.PatternSeries:
    """Patterns [B, N] on a run's axis as the record that a run takes."""
    numbers = np.zeros(len(rows), int)
    axis = record.Axis(np.asarray(run.statistics.axis, np.float64), "channel")
    return record.PatternSeries(rows, axis, np.arange(len(rows)), {}, numbers, numbers)


def _thinned(total: int, most: int) -> np.ndarray:
    return np.linspace(0, total - 1, min(total, most)).round().astype(int)


def _measured(spec: TargetSpec, batch: new_data.Batch) -> np.ndarray | None:
    """[T] measured values of a target in the run's terms, where the data have it alike."""
    target = batch.targets.get(spec.name)
    if target is None or target.kind != spec.kind or target.unit != spec.unit:
        return None
    if spec.kind != "regression" and tuple(target.classes) != spec.classes:
        return None
    return target.values


def _findings(run: Run, known: novelty.Reference | None, outcome: Outcome) -> list[str]:
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
    run: Run, known: novelty.Reference | None, home: Path, outcomes: Sequence[Outcome], data: str,
    said: list[str], found: new_data.Incoming,
) -> None:  # fmt: skip
    arrays: dict[str, np.ndarray] = {"axis": run.axis}
    for number, one in enumerate(outcomes, 1):
        end = "" if number == 1 else f"_{number}"
        arrays |= {f"maps{end}": one.maps, f"kept{end}": one.kept, f"per_seed{end}": one.curves}
        if number <= MOST_FIGURES:
            figure = figures_predictions.predictions(run, known, one)
            figures_run.save(figure, home / "figures", f"predictions{end}", training_workdir.write_bytes)
    training_workdir.write_npz(home / "vaw.npz", **arrays)
    training_workdir.write_json(
        home / "summary.json",
        {"run": str(run.path.resolve()), "identity": novelty.identity(run), "data": data,
         "seeds": run.config.seed_list(), "said": said,
         "batches": [{"title": one.batch.title, "patterns": len(one.batch), "axis": one.batch.kind,
                      "wavelength": one.batch.wavelength, "unusual": int(np.count_nonzero(one.distance > 1)),
                      "median_distance": float(np.median(one.distance))} for one in outcomes],
         "refused": [{"file": str(file), "why": why} for file, why in found.refused]},
    )  # fmt: skip
    # Last, so that a directory with predictions in it is complete.
    training_workdir.write_parts(
        home / "predictions.csv", itertools.chain([_header(run, outcomes)], _lines(run, outcomes))
    )


def _header(run: Run, outcomes: Sequence[Outcome]) -> bytes:
    names = ["pattern", "start_time", "time_s"]
    for spec in run.specs:
        known = any(_measured(spec, one.batch) is not None for one in outcomes)
        names += [*([spec.name] if known else []), *columns.headings(spec)]
    return columns.lines([[*names, "distance", "unusual"]])


def _lines(run: Run, outcomes: Sequence[Outcome], size: int = 4096) -> Iterator[bytes]:
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
        yield columns.lines(zip(*table, strict=True))


def _truth(spec: TargetSpec, batch: new_data.Batch, here: slice, count: int) -> list[str]:
    truth = _measured(spec, batch)
    if truth is None:
        return [""] * count
    return [f"{v:.6g}" if spec.kind == "regression" else spec.classes[int(v)] for v in truth[here]]
