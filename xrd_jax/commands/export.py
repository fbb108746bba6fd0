"""`--mode=export`: a run as one file that needs nothing of this package, preprocessing inside.

Both formats take patterns [b, N] float32 as they were measured, any b, and give for every target NAME: `NAME` [b], in
its unit, or [b, K] probabilities, both of all exported seeds together, and `NAME_std` of the same shape, the sample
standard deviation over them (0 for one seed). A target that is learnt as a distribution has `NAME_distribution` [b, K]
as well, the probabilities of its bins, mean over seeds; `NAME` is then its median, or its mean if that was asked for.
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
from jaxtyping import Array, Float

import xrd_jax
from xrd_jax import files
from xrd_jax.analysis import collect, novelty
from xrd_jax.analysis.metrics import ensemble_values, std_over_seeds
from xrd_jax.analysis.run import Run, open_run
from xrd_jax.config.overrides import to_dict
from xrd_jax.errors import UserError
from xrd_jax.estimators.program import make_program, with_deviations
from xrd_jax.estimators.saved import describe_choice
from xrd_jax.preprocessing.transform import transform
from xrd_jax.runtime.console import SILENT, Console

FILE_NAMES = {"jax": "model.jax_export", "onnx": "model.onnx"}
EXTRAS = {"jax": ("flatbuffers",), "onnx": ("onnx", "onnxruntime")}
PLATFORMS = ("cpu", "cuda", "tpu")
TOLERANCE = 1e-5  # in units of the target, or of its training standard deviation where that is larger
LOADERS = {
    "jax": "program = jax.export.deserialize(open('model.jax_export', 'rb').read()); outputs = program.call(patterns)",
    "onnx": "outputs = onnxruntime.InferenceSession('model.onnx').run(names_of_outputs, {'patterns': patterns})",
}
Call = Callable[[np.ndarray], dict[str, np.ndarray]]  # patterns [b, N] -> name of output -> values


def export(
    workdir: str | Path, form: str = "jax", out: str | Path | None = None, seed: int | None = None,
    overwrite: bool = False, console: Console = SILENT,
) -> Path:  # fmt: skip
    """Write a run as `model.jax_export` or `model.onnx`, with `model.FORMAT.json` beside it that says what it is.

    What was written is read back and compared with the run before it gets its name.

    Args:
      seed: one seed of the run instead of the mean over all of them.

    Raises:
      UserError: no run, an unknown seed, a missing extra, a preprocessing or precision that cannot be exported, outputs
        that differ, or a file that is there already.
    """
    if form not in FILE_NAMES:
        raise UserError(f"--format={form}: use {' or '.join(FILE_NAMES)}")
    for name in EXTRAS[form]:
        _import_extra(name)
    run = select_seed(open_run(workdir), seed)
    refuse_unsupported(run, form)
    folder = Path(out) if out else run.path / "export"
    files.claim_directory(folder, FILE_NAMES[form], overwrite, "--out")
    reference = novelty.load(run, console)
    record = describe(run, reference, form)
    content = build(run, form, record)
    patterns = _patterns_to_compare(run, reference)
    differences = largest_differences(run, load_artefact(form, content), patterns)
    record["sha256"] = hashlib.sha256(content).hexdigest()
    record["largest_difference"] = differences
    record["checked_on"] = f"{len(patterns)} {'held-out patterns' if reference else 'made-up patterns'}"
    file = folder / FILE_NAMES[form]
    files.write_bytes(file, content)
    files.write_json(folder / f"model.{form}.json", record)
    largest = max(differences.values(), default=0.0)
    size = len(content) / 2**20
    console.echo(f"{file}: {size:.1f} MiB, outputs within {largest:.1e} of the run's; see model.{form}.json")
    return file


def select_seed(run: Run, seed: int | None) -> Run:
    """Return the run with one of its seeds only; the whole run for None, and an estimator, which has none."""
    if seed is None or run.choice is not None:
        return run
    seeds = run.config.seed_list()
    if seed not in seeds:
        raise UserError(f"--seed={seed}: {run.path} was trained with seeds {', '.join(map(str, seeds))}")
    variables = jax.tree.map(lambda leaf: leaf[None], run.of_seed(seeds.index(seed)))
    return dataclasses.replace(run, config=dataclasses.replace(run.config, seed=seed, seeds=1), variables=variables)


def describe(run: Run, reference: novelty.Reference | None, form: str) -> dict[str, Any]:
    """Return what goes into the file beside an artefact: inputs, outputs, preprocessing, provenance."""
    positions = np.asarray(run.statistics.axis, np.float64)
    axis = reference.axis if reference else None
    outputs: list[dict[str, Any]] = []
    for spec in run.specs:
        shape = ["b"] if spec.kind == "regression" else ["b", spec.size]
        meaning = "value" if spec.kind == "regression" else "probability of each class"
        common = {"shape": shape, "dtype": "float32", "target": spec.name, "kind": spec.kind, "unit": spec.unit,
                  "classes": list(spec.classes)}  # fmt: skip
        over = f"{spec.point} of the mean distribution" if spec.is_distribution else "mean over seeds"
        over = over if run.choice is None else f"of {run.choice.estimator}"
        outputs.append({"name": spec.name, "is": f"{meaning}, {over}", **common})
        outputs.append({"name": f"{spec.name}_std", "is": "sample standard deviation over seeds", **common})
        if spec.is_distribution:
            bins: dict[str, Any] = {"shape": ["b", spec.size], "low": spec.low, "high": spec.high}
            is_what = "probability of each of the equal bins from low to high, mean over seeds"
            outputs.append({"name": f"{spec.name}_distribution", "is": is_what, **common, **bins})
    return {
        "format": form,
        "file": FILE_NAMES[form],
        "loader": LOADERS[form],
        "input": {"name": "patterns", "shape": ["b", int(positions.size)], "dtype": "float32",
                  "is": "intensities as measured, on this axis; preprocessing is inside"},
        "axis": {"kind": axis and axis.kind, "unit": axis and axis.unit,
                 "wavelength_angstrom": axis and axis.wavelength, "masked": axis.masked if axis else [],
                 "values": [float(f"{v:.9g}") for v in positions]},
        "outputs": outputs,
        "seeds": run.config.seed_list(),
        "preprocessing": to_dict(run.config)["prepare"],
        "model": to_dict(run.config)["model"] if run.choice is None else describe_choice(run.choice),
        "run": str(run.path.resolve()),
        "identity": novelty.identity(run),
        "versions": {"xrd_jax": xrd_jax.__version__, "jax": metadata.version("jax")}
        | ({"onnx": metadata.version("onnx")} if form == "onnx" else {"platforms": list(PLATFORMS)}),
    }  # fmt: skip


def largest_differences(run: Run, call: Call, patterns: Float[np.ndarray, "b N"]) -> dict[str, float]:
    """Return the largest difference between an artefact's outputs and the run's, for every output.

    Raises:
      UserError: one exceeds the tolerance.
    """
    predicted = run.predict_with_maps(collect.as_series(run, patterns), maps=False)
    exported = call(patterns)
    differences = {}
    for spec in run.specs:
        unit = max(1.0, spec.deviation) if spec.kind == "regression" else 1.0
        values_of_seeds, distribution = predicted.outputs[spec.name], predicted.distributions.get(spec.name)
        expected = {
            spec.name: ensemble_values(spec, values_of_seeds, distribution),
            f"{spec.name}_std": std_over_seeds(values_of_seeds),
        }
        if distribution is not None:
            expected[f"{spec.name}_distribution"] = distribution
        for name, values in expected.items():
            differences[name] = float(np.abs(exported[name] - values).max(initial=0.0))
            # And some steps of float32 of the value itself. A NaN is not within the tolerance either.
            if not differences[name] <= TOLERANCE * unit + 4e-7 * float(np.abs(values).max(initial=0.0)):
                raise UserError(
                    f"{run.path}: the exported {name} differs from the run's by {differences[name]:.1e}, more than "
                    f"{TOLERANCE * unit:.0e}; export it in another --format, or report this"
                )
    return differences


def refuse_unsupported(run: Run, form: str) -> None:
    if run.config.prepare.baseline != "none":
        raise UserError(
            f"{run.path}: prepare.baseline={run.config.prepare.baseline} calls a library for every pattern and cannot "
            "leave Python; train with prepare.baseline=none to export"
        )
    if form == "onnx" and run.choice is None and run.config.model.precision != "float32":
        raise UserError(f"{run.path}: computes in {run.config.model.precision}, ONNX in float32; use --format=jax")


def _import_extra(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(f"--mode=export needs {name}; pip install 'xrd_jax[export]'") from None


def _patterns_to_compare(run: Run, reference: novelty.Reference | None) -> np.ndarray:
    """Return [E, N] held-out patterns, or made-up ones within the range of training."""
    if reference is not None:
        return reference.examples
    low, high = float(run.statistics.low), float(run.statistics.high)
    size = run.statistics.axis.shape[0]
    return np.random.default_rng(0).uniform(low, high, (4, size)).astype(np.float32)


def program(run: Run) -> Callable[[Float[Array, "b N"]], dict[str, Array]]:
    """Return the function from patterns to outputs, with everything that the run has learnt in it."""
    if run.choice is not None:
        return with_deviations(make_program(run.choice, run.config.prepare))

    def of_seed(variables: Any, inputs: Array) -> dict[str, Array]:
        # Pattern by pattern, so that no part of the network asks how many there are.
        outputs = jax.vmap(lambda row: jax.tree.map(lambda v: v[0], run.model.apply(variables, row[None])[0]))(inputs)
        distributions = {
            f"{spec.name}_distribution": jax.nn.softmax(outputs[spec.name])
            for spec in run.specs
            if spec.is_distribution
        }
        return {spec.name: spec.to_physical(outputs[spec.name]) for spec in run.specs} | distributions

    def of_run(patterns: Array) -> dict[str, Array]:
        inputs = transform(run.statistics, run.config.prepare, patterns)
        per_seed = [of_seed(run.of_seed(index), inputs) for index in range(run.config.seeds)]
        outputs = {}
        for spec in run.specs:
            values = jnp.stack([seed_outputs[spec.name] for seed_outputs in per_seed])
            outputs[spec.name] = values.mean(axis=0)
            if spec.is_distribution:
                distributions = [seed_outputs[f"{spec.name}_distribution"] for seed_outputs in per_seed]
                outputs[f"{spec.name}_distribution"] = jnp.stack(distributions).mean(axis=0)
                outputs[spec.name] = spec.to_point(outputs[f"{spec.name}_distribution"])
            deviation = values.std(axis=0, ddof=1) if len(per_seed) > 1 else jnp.zeros_like(values[0])
            outputs[f"{spec.name}_std"] = deviation
        return outputs

    return of_run


def build(run: Run, form: str, record: dict[str, Any]) -> bytes:
    """Return the artefact; `record` goes into its metadata where the format has room for it."""
    if form == "onnx":
        from xrd_jax.commands import onnx_graph

        return onnx_graph.build(run, record)
    import jax.export

    (b,) = jax.export.symbolic_shape("b")
    shape = jax.ShapeDtypeStruct((b, run.statistics.axis.shape[0]), jnp.float32)
    with jax.enable_x64(run.choice is not None):
        return bytes(jax.export.export(jax.jit(program(run)), platforms=PLATFORMS)(shape).serialize())


def load_artefact(form: str, content: bytes) -> Call:
    """Return what an artefact computes."""
    if form == "jax":
        import jax.export

        loaded = jax.export.deserialize(bytearray(content))
        return lambda patterns: {name: np.asarray(v) for name, v in loaded.call(patterns).items()}
    session = _import_extra("onnxruntime").InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda patterns: dict(zip(names, session.run(names, {"patterns": patterns}), strict=True))
