"""`--mode=watch`: follows a folder while an experiment runs, and says of every pattern what a run thinks of it."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from xrd_jax import files
from xrd_jax.analysis import collect, intervals, novelty
from xrd_jax.analysis.run import Predicted, Run, open_run
from xrd_jax.commands import tables
from xrd_jax.commands.append_log import AppendLog
from xrd_jax.commands.watch_folder import WatchedFile, WatchedFolder
from xrd_jax.commands.watch_patterns import Frame, FrameReader, Trained
from xrd_jax.errors import UserError
from xrd_jax.runtime.console import SILENT, Console
from xrd_jax.training.tensorboard import Monitor
from xrd_jax.training.workdir import pattern_columns

BLOCK_SIZE = 32  # patterns that are predicted together when there are many to catch up with
MAX_SINGLES = 3  # up to here patterns are predicted one by one, which is sooner done than a block


def watch(
    workdir: str | Path, data: str | Path, out: str | Path | None = None, until_idle: float = 0.0,
    patience: float = 60.0, poll: float = 0.2, console: Console = SILENT,
) -> int:  # fmt: skip
    """Predict every pattern that appears in a folder, those that are there already first.

    predictions.csv is the record: what is in it is not done again, and a pattern is reported only once it is in it.

    Args:
      out: where predictions.csv and curves go; RUN/watch-<name of the folder> by default.
      until_idle: s without a new pattern after which it ends; 0 goes on until interrupted.
      patience: s for which a file may stay unreadable before it is reported.
      poll: s between scans of the folder.

    Returns:
      how many patterns were added.

    Raises:
      UserError: no run, no folder, or a record that belongs to something else or cannot be written.
    """
    run, root = open_run(workdir), Path(data)
    home = Path(out) if out else run.path / f"watch-{root.resolve().name}"
    folder = WatchedFolder(root, (home, run.path), patience)
    _claim(run, root, home)
    reference, calibration = novelty.load(run, console), intervals.load(run.path)
    if calibration is not None and (refusal := calibration.refusal(intervals.LEVEL)):
        console.echo(f"no interval can be promised at {100 * intervals.LEVEL:g} %: {refusal}")
    log = AppendLog(home / "predictions.csv", _headings(run, reference, calibration))
    try:
        watcher = _Watcher(run, (reference, calibration), home, log, folder, console)
        watcher.warm_up()
        console.echo(_opening(run, root, log))
        try:
            watcher.follow(until_idle, poll)
        except KeyboardInterrupt:
            pass  # how a watch ends when the experiment does
        finally:
            watcher.close()
        console.echo(f"{watcher.added} patterns added: {home / 'predictions.csv'}; the same command goes on from here")
        return watcher.added
    finally:
        log.close()


def _headings(run: Run, reference: novelty.Reference | None, calibration: intervals.Calibration | None) -> list[str]:
    """Return the columns of the record; of a run of an earlier version they are what they were, so that it goes on."""
    targets: list[str] = []
    for spec in run.specs:
        targets += [*tables.prediction_headings(spec), *tables.interval_headings(spec, calibration)]
    residual = [] if reference is None or reference.model is None else ["residual"]
    return ["file", "scan", "bytes", "start_time", "read_at", *targets, "distance", *residual, "unusual"]


def _claim(run: Run, root: Path, home: Path) -> None:
    """Make the directory, or recognise the same run and folder in it."""
    owner = {"run": novelty.identity(run), "folder": str(root.resolve())}
    file = home / "watch.json"
    if home.exists() and not home.is_dir():
        raise UserError(f"{home}: is a file; choose another --out")
    try:
        earlier_owner = json.loads(file.read_text()) if file.exists() else owner
    except (OSError, ValueError):
        earlier_owner = None
    if earlier_owner != owner or (not file.exists() and (home / "predictions.csv").exists()):
        raise UserError(f"{home}: belongs to another run, another training or another folder; choose another --out")
    files.claim_directory(home, "", True, "--out")
    if not file.exists():
        files.write_json(file, owner)


def _opening(run: Run, root: Path, log: AppendLog) -> str:
    earlier = f"; {len(log.rows)} patterns are in it already" if log.rows else ""
    repaired = ", a half-written one was dropped" if log.is_repaired else ""
    return f"watching {root} for {run.path}{earlier}{repaired}; Ctrl-C ends"


class _Watcher:
    """What is between a folder and its record."""

    def __init__(
        self, run: Run, trust: tuple[novelty.Reference | None, intervals.Calibration | None], home: Path,
        log: AppendLog, folder: WatchedFolder, console: Console,
    ):  # fmt: skip
        self._run, self._log, self._folder, self._echo = run, log, folder, console.echo
        self._reference, self._calibration = trust
        self._trained = np.asarray(run.statistics.axis, np.float64)
        axis = None if self._reference is None else self._reference.axis
        try:
            trained = Trained(self._trained, axis, pattern_columns(run.path))
            self._reader = FrameReader(folder, trained, log.rows, console.echo)
        except ValueError as error:
            raise UserError(
                f"{home / 'predictions.csv'}: column scan is damaged ({error}); choose another --out"
            ) from None
        self._step, self.added = len(log.rows), 0
        self._monitor = Monitor(home / "tensorboard", run.config.seed_list(), start=self._step)

    def warm_up(self) -> None:
        """Compile the two programs, for one pattern and for a block, before anything waits for them."""
        example = np.ones(self._trained.size, np.float32) if self._reference is None else self._reference.examples[0]
        for count in (1, BLOCK_SIZE):
            self._predict(np.repeat(example[None], count, axis=0))

    def follow(self, until_idle: float, poll: float) -> None:
        """Scan the folder again and again; end when nothing has come or changed for `until_idle` s, if set."""
        idle_since = time.monotonic()
        while True:
            started, added = time.monotonic(), self.added
            ready = self._folder.ready(started)
            for frames in _blocks(self._reader.read(ready)):
                self._take(frames)
            now = time.monotonic()
            self._report_problems(self._folder.stuck(now))
            idle_since = now if self.added > added else max(idle_since, self._folder.last_change)
            if until_idle and now - idle_since >= until_idle:
                break
            # A large folder on a slow drive is not scanned all the time.
            time.sleep(poll if self.added > added else max(poll, 3 * (now - started)))
        self._report_problems(self._folder.stuck(time.monotonic(), at_end=True))

    def close(self) -> None:
        self._monitor.close()

    def _report_problems(self, stuck: Iterator[WatchedFile]) -> None:
        for file in stuck:
            self._echo(f"not read: {file.problem}")

    def _predict(self, patterns: np.ndarray) -> tuple[Predicted, np.ndarray, np.ndarray]:
        """Return predictions, distances and residuals of one pattern, or of up to BLOCK_SIZE: two programs in all."""
        size = 1 if len(patterns) <= MAX_SINGLES else BLOCK_SIZE
        predicted = self._run.predict_with_maps(collect.as_series(self._run, patterns), maps=False, chunk=size)
        if self._reference is None:
            return predicted, np.full(len(patterns), np.nan), np.full(len(patterns), np.nan)
        return predicted, self._reference.distances(self._run, patterns), self._reference.residuals(patterns)

    def _take(self, frames: Sequence[Frame]) -> None:
        """Predict patterns, put them on record, and only then report them."""
        started = time.perf_counter()
        (outputs, _, distributions), distances, residuals = self._predict(np.stack([f.pattern for f in frames]))
        unusual = novelty.is_unusual(distances, residuals)
        columns = {
            spec.name: tables.prediction_columns(spec, outputs[spec.name], distributions.get(spec.name))
            + tables.interval_columns(spec, self._calibration, outputs, distributions.get(spec.name), unusual)
            for spec in self._run.specs
        }
        cells = [{name: [column[i] for column in columns[name]] for name in columns} for i in range(len(frames))]
        read_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        novelties = list(zip(distances.tolist(), residuals.tolist(), unusual.tolist(), strict=True))
        self._log.append([
            [frame.file, frame.scan, frame.bytes, frame.start_time, read_at,
             *(cell for target_cells in frame_cells.values() for cell in target_cells), *last]
            for frame, frame_cells, last in zip(frames, cells, map(self._novelty_cells, novelties), strict=True)
        ])  # fmt: skip
        seconds = (time.perf_counter() - started) / len(frames)
        for i, (frame, measured) in enumerate(zip(frames, novelties, strict=True)):
            self._reader.mark_recorded(frame)
            self._add_curves({name: values[:, i] for name, values in outputs.items()}, *measured[:2])
            self._echo(self._line(frame, cells[i], _novelty_text(*measured), 1000 * (seconds + frame.seconds)))
        self.added += len(frames)

    def _novelty_cells(self, measured: tuple[float, float, bool]) -> list[object]:
        distance, residual, is_unusual = measured
        is_known = self._reference is not None and self._reference.model is not None
        flag = "" if np.isnan(distance) else int(is_unusual)
        return [f"{distance:.3g}", *([f"{residual:.3g}"] if is_known else []), flag]

    def _line(self, frame: Frame, cells: dict[str, list[str]], novelty_text: str, milliseconds: float) -> str:
        name = frame.file if frame.scan == 1 else f"{frame.file}#{frame.scan}"
        parts = [datetime.datetime.now().strftime("%H:%M:%S"), name]
        for spec in self._run.specs:
            if spec.kind == "regression":
                value, deviation, *ends = cells[spec.name]
                plus_minus = f" ± {deviation}" if self._run.config.seeds > 1 else ""
                parts.append(f"{spec.name} {value}{plus_minus} {spec.unit}".rstrip() + _interval_text(ends))
            else:
                label, _, probability = cells[spec.name]
                parts.append(f"{spec.name} {label} ({100 * float(probability):.0f} %)")
        return "  ".join([*parts, *([novelty_text] if novelty_text else []), f"{milliseconds:.0f} ms"])

    def _add_curves(self, outputs: dict[str, np.ndarray], distance: float, residual: float) -> None:
        """Add one point per seed and target: a value, or the probability of every class."""
        seeds = self._run.config.seeds
        points = {"watch/distance": np.full(seeds, distance), "watch/residual": np.full(seeds, residual)}
        for spec in self._run.specs:
            values = outputs[spec.name]
            if spec.kind == "regression":
                points[f"watch/{spec.name}"] = values
            else:
                points |= {f"watch/{spec.name}/{label}": values[:, k] for k, label in enumerate(spec.classes)}
        finite = {tag: per_seed for tag, per_seed in points.items() if np.isfinite(per_seed).all()}
        self._monitor.add_scalars(self._step, finite)
        self._step += 1


def _interval_text(ends: Sequence[str]) -> str:
    """Return the ends of an interval for a line: ' (3.98 to 4.03)', or that nothing is stated."""
    if not ends or not ends[0]:
        return ""
    return f" ({ends[0]})" if ends[0] == tables.NO_STATEMENT else f" ({ends[0]} to {ends[1]})"


def _novelty_text(distance: float, residual: float, is_unusual: bool) -> str:
    if np.isnan(distance):
        return ""
    text = f"distance {distance:.2f}" + ("" if np.isnan(residual) else f" residual {residual:.2f}")
    return text + (" UNUSUAL" if is_unusual else "")


def _blocks(frames: Iterator[Frame]) -> Iterator[list[Frame]]:
    """Yield frames in blocks of at most BLOCK_SIZE."""
    block: list[Frame] = []
    for frame in frames:
        block.append(frame)
        if len(block) == BLOCK_SIZE:
            yield block
            block = []
    if block:
        yield block
