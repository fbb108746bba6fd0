"""The run directory: the contract between training, analysis and people. Created here, and never silently replaced."""

import dataclasses
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xrd_jax.config.overrides import from_dict, to_dict
from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError
from xrd_jax.files import DAMAGED_NPZ, finite_or_null, is_whole, read_npz, write_bytes, write_json, write_npz
from xrd_jax.preprocessing.prepare import Prepared
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.preprocessing.transform import Statistics

# What a training writes, and what explanations of it do; a new training into the same directory removes them first.
FOLDERS = ("checkpoints", "tensorboard", "figures", "information")
FILES = (
    "config.json", "metrics.json", "table.md", "predictions.csv", "vaw.npz", "preparation.npz", "reference.npz",
)  # fmt: skip
CALIBRATION = ("calibration.npz",)  # where patterns were held out for it
ESTIMATOR = ("estimator.npz",)  # in place of the networks' checkpoints, maps and curves
PAGE = ("report.html", "card.md")
EXPLANATIONS = ("explain.json", "importance.csv", "explain_curves.csv")
COPY = "record"  # member of preparation.npz: the bytes of config.json
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy")


def create_or_resume(
    workdir: str | os.PathLike[str], config: Config, prepared: Prepared, specs: tuple[TargetSpec, ...], overwrite: bool
) -> Path:
    """Create the run directory, or recognise the same experiment in it.

    Raises:
      UserError: the directory holds another experiment's run or foreign files, or cannot be written.
    """
    path = Path(workdir)
    record = config_record(config, prepared, specs)
    config_path = path / "config.json"
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: is a file; choose another --workdir")
    is_replaced = overwrite and (config_path.exists() or _written_config(path) is not None)
    if is_replaced:
        for name in FOLDERS:
            shutil.rmtree(path / name, ignore_errors=True)
        for name in (*FILES, *CALIBRATION, *ESTIMATOR, *PAGE, *EXPLANATIONS):
            (path / name).unlink(missing_ok=True)
    if config_path.exists():
        _refuse_other_experiment(path, read_config(path)[0], record)
    elif not is_replaced and path.exists() and any(file.suffix != ".partial" for file in path.iterdir()):
        raise UserError(f"{path}: holds files that are not a run of xrd_jax; choose an empty or new --workdir")
    else:
        write_json(config_path, record)  # first, so that whatever interrupts from here on leaves a run to resume
    if not is_whole(path / "preparation.npz"):
        for name in ESTIMATOR:  # made for the statistics of its own scaling
            (path / name).unlink(missing_ok=True)
        write_preparation(path, prepared.statistics)
    if not os.access(path, os.W_OK):
        raise UserError(f"{path}: is not writable; choose another --workdir")
    return path


def write_preparation(path: Path, statistics: Statistics) -> None:
    """Write preparation.npz, with a copy of config.json: the checksum of the one is that of the other."""
    copy = np.frombuffer((path / "config.json").read_bytes(), np.uint8)
    write_npz(path / "preparation.npz", **statistics._asdict(), **{COPY: copy})


def read_preparation(path: Path) -> dict[str, np.ndarray]:
    """Return the fields of the preparation's statistics.

    Raises:
      UserError: the file is missing or damaged.
    """
    file = path / "preparation.npz"
    try:
        arrays = read_npz(file)
    except FileNotFoundError:
        raise UserError(f"{file}: is missing; run the training again, which writes it anew") from None
    return {name: values for name, values in arrays.items() if name in Statistics._fields}


def pattern_columns(path: Path) -> tuple[str | int, ...]:
    """Return which columns of text files a run was trained on, as its experiment file names them; () if it does not.

    Raises:
      UserError: its sessions name different ones.
    """
    named = read_config(path)[0].get("data", {}).get("provenance", {}).get("columns", [])
    if len(named) > 1:
        raise UserError(
            f"{path}: its sessions read different columns, and a new file alone does not say which; name an experiment "
            "file with columns under [[session]]"
        )
    return tuple(named[0]) if named else ()


def read_config(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return what config.json holds, and a line where its copy in preparation.npz had to be taken.

    Raises:
      UserError: no run, or both are damaged.
    """
    file = path / "config.json"
    copy = _written_config(path)
    try:
        content = file.read_bytes()
        record = json.loads(content)
        if not all(isinstance(part, dict) for part in (record, record["config"], record.get("data", {}))):
            raise ValueError("it holds no configuration")
        if copy is None or content == copy or _without_places(record) == _without_places(json.loads(copy)):
            return record, []
        problem = "is not as it was written"
    except FileNotFoundError:
        problem = "is missing"
    except (ValueError, KeyError, TypeError) as error:
        problem = f"is damaged ({error})"
    if copy is None:
        remedy = "train first" if problem == "is missing" else "put a copy of it back, or train again with --overwrite"
        raise UserError(f"{path}: not a run directory (config.json {problem}); {remedy}")
    return json.loads(copy), [f"{file}: {problem}; its copy in preparation.npz is taken"]


def repair(path: Path) -> list[str]:
    """Write a damaged config.json anew from its copy, and return a line where that was done."""
    if _written_config(path) is None:
        return []
    _, lines = read_config(path)
    if lines:
        write_bytes(path / "config.json", _written_config(path) or b"")
    return lines


def directory_identity(path: Path) -> str:
    """Return what tells one run in a directory from another: its configuration, its data and its preparation."""
    config = _written_config(path)
    digest = hashlib.sha256((path / "config.json").read_bytes() if config is None else config)
    digest.update((path / "preparation.npz").read_bytes())
    return digest.hexdigest()


def _written_config(path: Path) -> bytes | None:
    """Return config.json as it was written; None where preparation.npz holds no copy or is damaged."""
    try:
        with zipfile.ZipFile(path / "preparation.npz") as archive:  # checks the checksum of what is read to its end
            content = archive.read(f"{COPY}.npy")
        return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False).tobytes()
    except DAMAGED_NPZ:
        return None


def _without_places(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record without where the data lie, which may be changed when they have moved."""
    return record | {"config": {k: v for k, v in record["config"].items() if k not in ("data", "data_root")}}


def config_record(config: Config, prepared: Prepared, specs: tuple[TargetSpec, ...]) -> dict[str, Any]:
    """Return what config.json holds: the resolved configuration and where everything came from."""
    return {
        "config": to_dict(config),
        "seeds": config.seed_list(),
        "targets": [dataclasses.asdict(spec) for spec in specs],
        "n_train": int(prepared.train.size),
        "n_test": int(prepared.test.size),
        "data": {"fingerprint": prepared.series.fingerprint(), "provenance": dict(prepared.series.provenance)},
        "versions": {name: metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "device": jax.devices()[0].device_kind,
        "git": _git_revision(),
    }


def _git_revision() -> str:
    """Return the git revision of this source tree, '' where there is none."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _refuse_other_experiment(path: Path, recorded: dict[str, Any], asked: dict[str, Any]) -> None:
    # A field that is younger than the run has its default, which is what was done before there was a choice.
    complete = to_dict(from_dict(Config, recorded.get("config", {})))
    old, new = _flat(finite_or_null(complete)), _flat(finite_or_null(asked["config"]))
    # Where the files lie does not change what the experiment is (the fingerprint of the data does), nor on how many
    # devices it runs.
    ignored = ("data", "data_root", "train.seeds_per_call", "train.batch_devices")
    changed = [k for k in sorted(old | new) if old.get(k) != new.get(k) and k not in ignored]
    if changed:
        listed = ", ".join(f"{k}: {old.get(k)} there, {new.get(k)} asked" for k in changed[:3])
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise UserError(
            f"{path}: holds another experiment's run ({listed}{more}); choose another --workdir or add --overwrite"
        )
    if recorded.get("data", {}).get("fingerprint") != asked["data"]["fingerprint"]:
        raise UserError(
            f"{path}: holds a run on other data (the fingerprints differ); choose another --workdir or add --overwrite"
        )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat
