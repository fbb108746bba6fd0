"""A chosen estimator on disk: plain arrays and what is said of them, in one file."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax import files
from xrd_jax.errors import UserError
from xrd_jax.estimators.candidates import Choice
from xrd_jax.estimators.predictor import GaussianProcess, Linear, Predictor, Trees
from xrd_jax.preprocessing.transform import Statistics

FILE = "estimator.npz"
FUNCTIONS = {function.__name__: function for function in (Linear, GaussianProcess, Trees)}


def save(path: Path, choice: Choice) -> None:
    """Write the estimator of the run in a directory into it; the statistics are in its preparation.npz."""
    targets: list[dict[str, Any]] = []
    arrays: dict[str, Any] = {}
    for number, (name, predictor) in enumerate(choice.predictors.items()):
        kind, span = type(predictor.function).__name__, (predictor.low, predictor.high)
        targets.append({"name": name, "function": kind, "kind": predictor.kind, "range": span})
        arrays |= {f"{number}.{field}": values for field, values in predictor.function._asdict().items()}
    record = files.finite_or_null(describe_choice(choice) | {"targets": targets})
    files.write_npz(path / FILE, record=np.asarray(json.dumps(record)), **arrays)


def describe_choice(choice: Choice) -> dict[str, Any]:
    """Return what is said of an estimator beside its arrays."""
    return {name: getattr(choice, name) for name in ("estimator", "scaling", "settings", "errors", "reason")}


def load(path: Path, statistics: Statistics) -> Choice:
    """Return the estimator of the run in a directory.

    Args:
      statistics: of the run.

    Raises:
      UserError: it is missing or damaged.
    """
    try:
        file = files.read_npz(path / FILE)
        record, predictors = json.loads(str(file["record"])), {}
        for number, target in enumerate(record["targets"]):
            function = FUNCTIONS[target["function"]]
            arrays = {field: file[f"{number}.{field}"] for field in function._fields}
            predictors[target["name"]] = Predictor(function(**arrays), target["kind"], *target["range"])
        said = {key: record[key] for key in ("settings", "errors", "reason")}
        return Choice(record["estimator"], record["scaling"], statistics, predictors, **said)
    except FileNotFoundError:
        raise UserError(f"{path}: has no {FILE} yet; run the training again, which goes on where it was") from None
    except UserError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path / FILE}: is damaged ({error}); train again with --overwrite") from None
