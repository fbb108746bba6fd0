"""The run directory: the contract between training, analysis and people. Created here, and never silently replaced."""

import dataclasses
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from xrd_jax.config.overrides import from_dict, to_dict
from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError
from xrd_jax.files import finite_or_null, write_json, write_npz
from xrd_jax.preprocessing.prepare import Prepared
from xrd_jax.preprocessing.targets import TargetSpec

# What a training writes, and what explanations of it do; a new training into the same directory removes them first.
FOLDERS = ("checkpoints", "tensorboard", "figures", "information")
FILES = (
    "config.json", "metrics.json", "table.md", "predictions.csv", "vaw.npz", "preparation.npz", "reference.npz",
)  # fmt: skip
CALIBRATION = ("calibration.npz",)  # where patterns were held out for it
EXPLANATIONS = ("explain.json", "importance.csv", "explain_curves.csv")
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
    if overwrite and config_path.exists():
        for name in FOLDERS:
            shutil.rmtree(path / name, ignore_errors=True)
        for name in (*FILES, *CALIBRATION, *EXPLANATIONS):
            (path / name).unlink(missing_ok=True)
    if config_path.exists():
        _refuse_other_experiment(path, json.loads(config_path.read_text()), record)
    elif path.exists() and any(file.suffix != ".partial" for file in path.iterdir()):
        raise UserError(f"{path}: holds files that are not a run of xrd_jax; choose an empty or new --workdir")
    else:
        write_json(config_path, record)  # first, so that whatever interrupts from here on leaves a run to resume
    if not (path / "preparation.npz").exists():
        write_npz(path / "preparation.npz", **prepared.statistics._asdict())
    if not os.access(path, os.W_OK):
        raise UserError(f"{path}: is not writable; choose another --workdir")
    return path


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
