"""`--mode=export`: a run as one file that needs nothing of this package, preprocessing inside.

Both formats take patterns [b, N] float32 as they were measured, any b, and give for every target NAME: `NAME` [b], in
its unit, or [b, K] probabilities, both the mean over the exported seeds, and `NAME_std` of the same shape, the sample
standard deviation over them (0 for one seed).
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import xrd_jax
from xrd_jax import files
from xrd_jax.analysis import collect, novelty
from xrd_jax.analysis.run import Run, open_run
from xrd_jax.commands import columns
from xrd_jax.config.overrides import to_dict
from xrd_jax.errors import UserError
from xrd_jax.preprocessing import transform as preprocessing_transform

Echo = Callable[[str], None]
FORMATS = ("jax", "onnx")
FILES = {"jax": "model.jax_export", "onnx": "model.onnx"}
PLATFORMS = ("cpu", "cuda", "tpu")
TOLERANCE = 1e-5  # in units of the target, or of its training standard deviation where that is larger
LOADERS = {
    "jax": "program = jax.export.deserialize(open('model.jax_export', 'rb').read()); outputs = program.call(patterns)",
    "onnx": "outputs = onnxruntime.InferenceSession('model.onnx').run(names_of_outputs, {'patterns': patterns})",
}


def export(
    workdir: str | Path,
    form: str = "jax",
    out: str | Path | None = None,
    seed: int | None = None,
    overwrite: bool = False,
    say: Echo = lambda line: None,
) -> Path:
    """Writes a run as `model.jax_export` or `model.onnx`, with `model.FORMAT.json` beside it that says what it is.

    What was written is read back and compared with the run before it gets its name.

    Args:
      seed: one seed of the run instead of the mean over all of them.

    Raises:
      UserError: no run, an unknown seed, a missing extra, a preprocessing or precision that cannot be exported, outputs
        that differ, or a file that is there already.
    """
    needed = {"jax": ("flatbuffers",), "onnx": ("onnx", "onnxruntime")}
    if form not in FORMATS:
        raise UserError(f"--format={form}: use {' or '.join(FORMATS)}")
    for name in needed[form]:
        _extra(name)
    run = one_seed(open_run(workdir), seed)
    _refuse(run, form)
    home = files.claim(Path(out) if out else run.path / "export", FILES[form], overwrite, "--out")
    known = novelty.load(run, say)
    content = _jax_artefact(run) if form == "jax" else _onnx_artefact(run, known)
    patterns = _patterns(run, known)
    difference = check(run, _load(form, content), patterns)
    file = home / FILES[form]
    record = describe(run, known, form) | {
        "sha256": hashlib.sha256(content).hexdigest(),
        "largest_difference": difference,
        "checked_on": f"{len(patterns)} {'verification patterns' if known else 'made-up patterns'}",
    }
    files.write_bytes(file, content)
    files.write_json(home / f"model.{form}.json", record)
    worst = max(difference.values(), default=0.0)
    say(f"{file}: {len(content) / 2**20:.1f} MiB, outputs within {worst:.1e} of the run's; see model.{form}.json")
    return file


def one_seed(run: Run, seed: int | None) -> Run:
    """The run with one of its seeds only; the whole run for None."""
    if seed is None:
        return run
    seeds = run.config.seed_list()
    if seed not in seeds:
        raise UserError(f"--seed={seed}: {run.path} was trained with seeds {', '.join(map(str, seeds))}")
    variables = jax.tree.map(lambda leaf: leaf[seeds.index(seed)][None], run.variables)
    return dataclasses.replace(run, config=dataclasses.replace(run.config, seed=seed, seeds=1), variables=variables)


def describe(run: Run, known: novelty.Reference | None, form: str) -> dict[str, Any]:
    """What goes into the file beside an artefact: inputs, outputs, preprocessing, provenance."""
    positions = np.asarray(run.statistics.axis, np.float64)
    axis = known.axis if known else None
    outputs = []
    for spec in run.specs:
        shape = ["b"] if spec.kind == "regression" else ["b", spec.size]
        meaning = "value" if spec.kind == "regression" else "probability of each class"
        common = {"shape": shape, "dtype": "float32", "target": spec.name, "kind": spec.kind, "unit": spec.unit,
                  "classes": list(spec.classes)}  # fmt: skip
        outputs.append({"name": spec.name, "is": f"{meaning}, mean over seeds", **common})
        outputs.append({"name": f"{spec.name}_std", "is": "sample standard deviation over seeds", **common})
    return {
        "format": form,
        "file": FILES[form],
        "loader": LOADERS[form],
        "input": {"name": "patterns", "shape": ["b", int(positions.size)], "dtype": "float32",
                  "is": "intensities as measured, on this axis; preprocessing is inside"},
        "axis": {"kind": axis and axis.kind, "unit": axis and axis.unit,
                 "wavelength_angstrom": axis and axis.wavelength,
                 "values": [float(f"{v:.9g}") for v in positions]},
        "outputs": outputs,
        "seeds": run.config.seed_list(),
        "preprocessing": to_dict(run.config)["prepare"],
        "model": to_dict(run.config)["model"],
        "run": str(run.path.resolve()),
        "identity": novelty.identity(run),
        "versions": {"xrd_jax": xrd_jax.__version__, "jax": metadata.version("jax")}
        | ({"onnx": metadata.version("onnx")} if form == "onnx" else {"platforms": list(PLATFORMS)}),
    }  # fmt: skip


def check(run: Run, call: Callable[[np.ndarray], dict[str, np.ndarray]], patterns: np.ndarray) -> dict[str, float]:
    """Largest difference between an artefact's outputs and the run's, for every output.

    Raises:
      UserError: one exceeds the tolerance.
    """
    expected = run.predict(collect.as_series(run, patterns))
    found = call(patterns)
    differences = {}
    for spec in run.specs:
        unit = max(1.0, spec.deviation) if spec.kind == "regression" else 1.0
        pairs = (
            (spec.name, expected[spec.name].mean(axis=0)),
            (f"{spec.name}_std", columns.std_over_seeds(expected[spec.name])),
        )
        for name, values in pairs:
            differences[name] = float(np.abs(found[name] - values).max(initial=0.0))
            if not differences[name] <= TOLERANCE * unit + 4e-7 * float(np.abs(values).max(initial=0.0)):
                raise UserError(
                    f"{run.path}: the exported {name} differs from the run's by {differences[name]:.1e}, more than "
                    f"{TOLERANCE * unit:.0e}; export it in another --format, or report this"
                )
    return differences


def _refuse(run: Run, form: str) -> None:
    if run.config.prepare.baseline != "none":
        raise UserError(
            f"{run.path}: prepare.baseline={run.config.prepare.baseline} calls a library for every pattern and cannot "
            "leave Python; train with prepare.baseline=none to export"
        )
    if form == "onnx" and run.config.model.precision != "float32":
        raise UserError(f"{run.path}: computes in {run.config.model.precision}, ONNX in float32; use --format=jax")


def _extra(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(f"--mode=export needs {name}; pip install 'xrd_jax[export]'") from None


def _patterns(run: Run, known: novelty.Reference | None) -> np.ndarray:
    """[E, N] patterns to compare with: verification patterns, or made-up ones within the range of training."""
    if known is not None:
        return known.examples
    low, high = float(run.statistics.low), float(run.statistics.high)
    size = run.statistics.axis.shape[0]
    return np.random.default_rng(0).uniform(low, high, (4, size)).astype(np.float32)


def program(run: Run) -> Callable[[jax.Array], dict[str, jax.Array]]:
    """Patterns [b, N] -> outputs, as one function of everything that the run has learnt."""

    def one(variables: Any, x: jax.Array) -> dict[str, jax.Array]:
        # Pattern by pattern, so that no part of the network asks how many there are.
        outputs = jax.vmap(lambda row: jax.tree.map(lambda v: v[0], run.model.apply(variables, row[None])[0]))(x)
        return {
            spec.name: outputs[spec.name][:, 0] * spec.deviation + spec.mean
            if spec.kind == "regression" else jax.nn.softmax(outputs[spec.name], axis=-1)
            for spec in run.specs
        }  # fmt: skip

    def all_of_them(patterns: jax.Array) -> dict[str, jax.Array]:
        x = preprocessing_transform.transform(run.statistics, run.config.prepare, patterns)
        seeds = range(run.config.seeds)
        each = [one(jax.tree.map(lambda leaf, s=s: leaf[s], run.variables), x) for s in seeds]
        found = {}
        for spec in run.specs:
            values = jnp.stack([outputs[spec.name] for outputs in each])
            found[spec.name] = values.mean(axis=0)
            found[f"{spec.name}_std"] = values.std(axis=0, ddof=1) if len(each) > 1 else jnp.zeros_like(values[0])
        return found

    return all_of_them


def _jax_artefact(run: Run) -> bytes:
    import jax.export

    (b,) = jax.export.symbolic_shape("b")
    shape = jax.ShapeDtypeStruct((b, run.statistics.axis.shape[0]), jnp.float32)
    return bytes(jax.export.export(jax.jit(program(run)), platforms=PLATFORMS)(shape).serialize())


def _onnx_artefact(run: Run, known: novelty.Reference | None) -> bytes:
    from xrd_jax.commands import onnx_graph

    return onnx_graph.build(run, describe(run, known, "onnx"))


def _load(form: str, content: bytes) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    if form == "jax":
        import jax.export

        loaded = jax.export.deserialize(bytearray(content))
        return lambda patterns: {name: np.asarray(v) for name, v in loaded.call(patterns).items()}
    session = _extra("onnxruntime").InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return lambda patterns: dict(zip(names, session.run(names, {"patterns": patterns}), strict=True))
