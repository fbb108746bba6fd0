"""`--mode=watch`: follows a folder while an experiment runs, and says of every pattern what a run thinks of it."""

from __future__ import annotations

import dataclasses
import datetime
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from xrd_jax import files
from xrd_jax.analysis import collect, novelty, resample
from xrd_jax.analysis.run import Run, open_run
from xrd_jax.commands import append_log, columns, watch_folder
from xrd_jax.errors import UserError
from xrd_jax.io.patterns.pattern import Pattern
from xrd_jax.io.reading import many_files, pattern_cache
from xrd_jax.training.tensorboard import Monitor

Echo = Callable[[str], None]
BLOCK = 32  # patterns that are predicted together when there are many to catch up with
FEW = 3  # up to here patterns are predicted one by one, which is sooner done than a block
CUT = "may be cut"  # how a reader says that a file may not be whole
CUT_FOR = 5.0  # s after which a file that ends without a line end is taken as it is


@dataclasses.dataclass(frozen=True)
class Frame:
    """One pattern on the run's axis: where it came from, what its file says about when, and s that reading it took."""

    file: str
    scan: int
    bytes: int
    start: str
    row: np.ndarray
    seconds: float


def watch(
    workdir: str | Path,
    data: str | Path,
    out: str | Path | None = None,
    until_idle: float = 0.0,
    patience: float = 60.0,
    poll: float = 0.2,
    progress: bool = False,
    say: Echo = lambda line: None,
) -> int:
    """Predicts every pattern that appears in a folder, those that are there already first.

    predictions.csv is the record: what is in it is not done again, and a pattern is told only once it is in it.

    Args:
      out: where predictions.csv and curves go; RUN/watch-<name of the folder> by default.
      until_idle: s without a new pattern after which it ends; 0 goes on until interrupted.
      patience: s for which a file may stay unreadable before it is told.
      poll: s between looks at the folder.

    Returns:
      how many patterns were added.

    Raises:
      UserError: no run, no folder, or a record that belongs to something else or cannot be written.
    """
    run, root = open_run(workdir), Path(data)
    home = Path(out) if out else run.path / f"watch-{root.resolve().name}"
    arriving = watch_folder.Arrivals(root, (home, run.path), patience)
    _claim(run, root, home)
    kept = append_log.Record(home / "predictions.csv", _heading(run))
    try:
        watcher = _Watcher(run, novelty.load(run, say, progress), root, home, kept, arriving, say)
        watcher.warm_up()
        say(watcher.opening())
        try:
            watcher.follow(until_idle, poll)
        except KeyboardInterrupt:
            pass  # how a watch ends when the experiment does
        finally:
            watcher.close()
        say(f"{watcher.added} patterns added: {home / 'predictions.csv'}; the same command goes on from here")
        return watcher.added
    finally:
        kept.close()


def _heading(run: Run) -> list[str]:
    targets = [name for spec in run.specs for name in columns.headings(spec)]
    return ["file", "scan", "bytes", "start_time", "read_at", *targets, "distance", "unusual"]


def _claim(run: Run, root: Path, home: Path) -> None:
    """Makes the directory, or recognises the same run and folder in it."""
    wanted = {"run": novelty.identity(run), "folder": str(root.resolve())}
    file = home / "watch.json"
    if home.exists() and not home.is_dir():
        raise UserError(f"{home}: is a file; choose another --out")
    try:
        found = json.loads(file.read_text()) if file.exists() else wanted
    except (OSError, ValueError):
        found = None
    if found != wanted or (not file.exists() and (home / "predictions.csv").exists()):
        raise UserError(f"{home}: belongs to another run, another training or another folder; choose another --out")
    files.claim(home, "", True, "--out")
    if not file.exists():
        files.write_json(file, wanted)


class _Watcher:
    """What is between a folder and its record."""

    def __init__(
        self, run: Run, known: novelty.Reference | None, root: Path, home: Path, kept: append_log.Record,
        arriving: watch_folder.Arrivals, say: Echo,
    ):  # fmt: skip
        self._run, self._known, self._root, self._kept, self._say = run, known, root, kept, say
        self._arriving = arriving
        self._trained = np.asarray(run.statistics.axis, np.float64)
        try:
            self._done = {(row[0], int(row[1])) for row in kept.rows}
        except ValueError as error:
            raise UserError(
                f"{home / 'predictions.csv'}: column scan is damaged ({error}); choose another --out"
            ) from None
        # Files of one pattern that a restart need not read again, as long as they have their length.
        self._sizes = {row[0]: row[2] for row in kept.rows if row[1] == "1" and (row[0], 2) not in self._done}
        self._step, self.added = len(kept.rows), 0
        self._fits: list[tuple[str | None, float | None, resample.Fit]] = []
        self._monitor = Monitor(home / "tensorboard", run.config.seed_list(), start=self._step)

    def warm_up(self) -> None:
        """Compiles the two programs, one pattern and a block, before anything waits for them."""
        row = self._known.examples[0] if self._known is not None else np.ones(self._trained.size, np.float32)
        for count in (1, BLOCK):
            rows = np.repeat(row[None], count, axis=0)
            self._predicted(rows)

    def opening(self) -> str:
        earlier = f"; {self._step} patterns are in it already" if self._step else ""
        torn = ", a half-written one was dropped" if self._kept.dropped else ""
        return f"watching {self._root} for {self._run.path}{earlier}{torn}; Ctrl-C ends"

    def follow(self, until_idle: float, poll: float) -> None:
        """Looks at the folder again and again; ends when nothing has come or changed for `until_idle` s, if set."""
        idle_since = time.monotonic()
        while True:
            begun, added = time.monotonic(), self.added
            ready = self._arriving.ready(begun)
            for frames in _blocks(self._frames(ready)):
                self._take(frames)
            now = time.monotonic()
            self._tell(self._arriving.stuck(now))
            idle_since = now if self.added > added else max(idle_since, self._arriving.changed)
            if until_idle and now - idle_since >= until_idle:
                break
            # A large folder on a slow drive is not looked at all the time.
            time.sleep(poll if self.added > added else max(poll, 3 * (now - begun)))
        self._tell(self._arriving.stuck(time.monotonic(), all_of_them=True))

    def close(self) -> None:
        self._monitor.close()

    def _tell(self, stuck: Iterator[watch_folder.Arrival]) -> None:
        for one in stuck:
            self._say(f"not read: {one.why}")

    def _frames(self, ready: Sequence[watch_folder.Arrival]) -> Iterator[Frame]:
        """New patterns of files that are ready, in order; what cannot be taken yet is noted for another attempt."""
        for one in ready:
            name = one.path.relative_to(self._root).as_posix()
            found, why = self._new(one, name, time.monotonic())
            yield from found
            if why:
                self._arriving.refuse(one, why, time.monotonic())
            else:
                one.done, one.why = one.state, ""

    def _new(self, one: watch_folder.Arrival, name: str, now: float) -> tuple[list[Frame], str]:
        """The patterns of a file that are not in the record yet, and why others are not to be taken as they are."""
        if any(character in name for character in "\r\n"):
            return [], f"{name!r}: has a line break in its name; rename it"
        alone = one.path.suffix.lower() not in pattern_cache.NOT_ALONE
        if one.done is None and alone and self._sizes.get(name) == str(one.state[1]):
            return [], ""
        begun = time.perf_counter()
        scans = many_files.read_one(one.path, allow_negative=True)
        if isinstance(scans, UserError):
            return [], str(scans)
        if not self._arriving.still(one):
            return [], f"{one.path}: changed while it was read"
        found: list[Frame] = []
        why = ""
        new = [(k, scan) for k, scan in enumerate(scans, 1) if (name, k) not in self._done]
        if not new and one.done is not None:
            self._say(f"{name}: was written again after it had been predicted; its line stays")
        for number, scan in new:
            if any(CUT in note for note in scan.notes) and not self._arriving.unchanged(one, now, CUT_FOR):
                return found, f"{one.path}: {' '.join(scan.notes)}"
            try:
                row = self._fit(scan, str(one.path))(scan.intensity[None])[0]
            except UserError as error:
                why = str(error)
                continue
            start = "" if scan.start_time is None else scan.start_time.isoformat()
            found.append(Frame(name, number, one.state[1], start, row, (time.perf_counter() - begun) / len(new)))
        return found, why

    def _fit(self, scan: Pattern, place: str) -> resample.Fit:
        """How a pattern comes onto the run's axis; what that takes is told once for each axis."""
        for kind, wavelength, fit in self._fits:
            if (kind, wavelength) == (scan.kind, scan.wavelength) and np.array_equal(fit.own, scan.axis):
                return fit
        known = None if self._known is None else self._known.axis
        fit = resample.fit(self._trained, known, scan.axis, scan.kind, scan.wavelength, place)
        said = {line.split(": ", 1)[-1] for _, _, other in self._fits for line in other.said}
        for line in fit.said:
            if line.split(": ", 1)[-1] not in said:
                self._say(line)
        self._fits = [*self._fits[-7:], (scan.kind, scan.wavelength, fit)]
        return fit

    def _predicted(self, rows: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Outputs and distances of one pattern, or of up to BLOCK, by two programs for all numbers."""
        count = len(rows)
        if 1 < count <= FEW:
            parts = [self._predicted(rows[i : i + 1]) for i in range(count)]
            outputs = {name: np.concatenate([one[name] for one, _ in parts], axis=1) for name in parts[0][0]}
            return outputs, np.concatenate([distance for _, distance in parts])
        size = 1 if count == 1 else BLOCK
        padded = np.pad(rows, ((0, size - count), (0, 0)), mode="edge")
        outputs, _ = self._run.predict_with_maps(collect.as_series(self._run, padded), maps=False, chunk=size)
        distance = np.full(count, np.nan)
        if self._known is not None:
            distance = self._known.distances(self._run, padded)[:count]
        return {name: values[:, :count] for name, values in outputs.items()}, distance

    def _take(self, frames: Sequence[Frame]) -> None:
        """Predicts patterns, puts them on record, and only then tells them."""
        begun = time.perf_counter()
        outputs, distance = self._predicted(np.stack([one.row for one in frames]))
        cells = {spec.name: columns.cells(spec, outputs[spec.name]) for spec in self._run.specs}
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        rows = []
        for i, one in enumerate(frames):
            row: list[object] = [one.file, one.scan, one.bytes, one.start, now]
            for spec in self._run.specs:
                row += [column[i] for column in cells[spec.name][: len(columns.headings(spec))]]
            rows.append([*row, f"{distance[i]:.3g}", "" if np.isnan(distance[i]) else int(distance[i] > 1)])
        self._kept.append(rows)
        each = 1000 * (time.perf_counter() - begun) / len(frames)
        for i, one in enumerate(frames):
            self._done.add((one.file, one.scan))
            self._curves({name: values[:, i] for name, values in outputs.items()}, distance[i])
            self._say(self._line(one, cells, i, distance[i], each + 1000 * one.seconds))
        self.added += len(frames)

    def _line(self, one: Frame, cells: dict[str, tuple], i: int, distance: float, each: float) -> str:
        name = one.file if one.scan == 1 else f"{one.file}#{one.scan}"
        parts = [datetime.datetime.now().strftime("%H:%M:%S"), name]
        for spec in self._run.specs:
            value, deviation, probability = (column[i] for column in cells[spec.name])
            if spec.kind == "regression":
                spread = f" ± {deviation}" if self._run.config.seeds > 1 else ""
                parts.append(f"{spec.name} {value}{spread} {spec.unit}".rstrip())
            else:
                parts.append(f"{spec.name} {value} ({100 * float(probability):.0f} %)")
        if np.isfinite(distance):
            parts.append(f"distance {distance:.2f}{' UNUSUAL' if distance > 1 else ''}")
        elif np.isinf(distance):
            parts.append("distance inf UNUSUAL")
        return "  ".join([*parts, f"{each:.0f} ms"])

    def _curves(self, values: dict[str, np.ndarray], distance: float) -> None:
        """One point per seed and target: a value, or the probability of every class."""
        seeds = self._run.config.seeds
        points = {"watch/distance": np.full(seeds, distance)} if np.isfinite(distance) else {}
        for spec in self._run.specs:
            own = values[spec.name]
            if spec.kind == "regression":
                points[f"watch/{spec.name}"] = own
            else:
                points |= {f"watch/{spec.name}/{label}": own[:, k] for k, label in enumerate(spec.classes)}
        self._monitor.scalars(self._step, {k: v for k, v in points.items() if np.isfinite(v).all()})
        self._step += 1


def _blocks(frames: Iterator[Frame]) -> Iterator[list[Frame]]:
    """Frames in blocks of at most BLOCK."""
    block: list[Frame] = []
    for one in frames:
        block.append(one)
        if len(block) == BLOCK:
            yield block
            block = []
    if block:
        yield block
