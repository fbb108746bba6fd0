"""Whatever happens to the files of a run, it is the same run, or one line says what is wrong."""

from __future__ import annotations

import io
import json
import shutil
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import runs
from xrd_jax import files
from xrd_jax.analysis.run import open_run
from xrd_jax.errors import UserError
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.training import workdir
from xrd_jax.training.checkpoint import Checkpoints
from xrd_jax.training.fit import make_model
from xrd_jax.training.tensorboard import Monitor

ABSTRACT = {"x": jax.ShapeDtypeStruct((300,), jnp.float32)}


def state(step):
    return {"x": jnp.linspace(0.0, float(step), 300)}


@pytest.fixture
def saved(tmp_path):
    """Checkpoints of three steps, the first of the lowest loss."""
    store = Checkpoints(tmp_path / "checkpoints")
    for step in (1, 2, 3):
        store.save(step, state(step), {"loss": float(step)})
    store.close()
    return tmp_path / "checkpoints"


@pytest.fixture
def run(tmp_path):
    shutil.copytree(runs.trained().path, tmp_path / "run")
    return tmp_path / "run"


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_a_bit_that_changed_in_the_arrays_is_noticed(saved):
    data = max((file for file in (saved / "3" / "state").rglob("*") if file.is_file()), key=lambda f: f.stat().st_size)
    whole = data.read_bytes()
    for position in range(len(whole) // 20, len(whole), len(whole) // 7):
        flip(data, position)
        values, step, damaged = Checkpoints(saved).restore(ABSTRACT)
        np.testing.assert_array_equal(values["x"], state(step)["x"])
        assert (step, len(damaged)) in ((2, 1), (3, 0))
        data.write_bytes(whole)
    flip(data, len(whole) - len(whole) // 3)
    store = Checkpoints(saved)
    _, step, damaged = store.restore(ABSTRACT)
    assert step == 2 and "damaged checkpoint passed over" in damaged[0]
    store.discard_damaged(step)
    store.save(3, state(3), {"loss": 3.0})
    store.close()
    assert Checkpoints(saved).restore(ABSTRACT)[1:] == (3, [])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b'{"loss": "1"}', b"\xff", b'{"lots": 1.0}'])
@pytest.mark.parametrize("step", [1, 3])
def test_damaged_metrics_of_a_checkpoint_stop_nothing(saved, content, step):
    (saved / str(step) / "metrics" / "metrics").write_bytes(content)
    store = Checkpoints(saved)
    restored = store.restore(ABSTRACT)
    assert restored[1] == (2 if step == 3 else 3) and f"/{step}: damaged checkpoint" in restored[2][0]
    store.discard_damaged(restored[1])
    store.save(4, state(4), {"loss": 4.0})
    store.close()
    assert step not in store.steps() and store.steps()[-1] == 4


def test_a_loss_that_changed_chooses_no_other_checkpoint(saved):
    metrics = saved / "2" / "metrics" / "metrics"
    metrics.write_text(metrics.read_text().replace("2.0", "0.0"))
    _, step, damaged = Checkpoints(saved).restore(ABSTRACT, best=True)
    assert step == 1 and len(damaged) == 1


def test_checkpoints_without_a_checksum_open(saved):
    metrics = saved / "3" / "metrics" / "metrics"
    metrics.write_text(json.dumps({"loss": 3.0}))
    assert Checkpoints(saved).restore(ABSTRACT)[1:] == (3, [])


@pytest.mark.parametrize("name", ["checkpoints", "config.json"])
def test_a_run_that_is_removed_meanwhile_is_noticed_at_the_next_checkpoint(tmp_path, name):
    (tmp_path / "config.json").write_text("{}")
    store = Checkpoints(tmp_path / "checkpoints")
    store.save(1, state(1), {"loss": 1.0})
    shutil.move(tmp_path / name, tmp_path / "gone")
    with pytest.raises(UserError, match="removed or replaced"):
        store.save(2, state(2), {"loss": 1.0})
    store.close()


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    store = Checkpoints(tmp_path / "checkpoints")
    pages = "RESOURCE_EXHAUSTED: Error writing 'x'\n[OS error 28: ENOSPC No space left on device] pages\n of state"

    def save(*_, **__):
        raise ValueError(pages)

    monkeypatch.setattr(store._checkpointer, "save", save)
    with pytest.raises(UserError, match=r"could not be written \(No space left on device\); free some space") as caught:
        store.save(1, state(1), {"loss": 1.0})
    assert "\n" not in str(caught.value)
    store.close()


def test_curves_end_where_the_disk_is_full_and_nothing_waits(tmp_path):
    monitor = Monitor(tmp_path, [0, 1])
    monitor._files[0]._file.close()
    monitor._files[0]._file = io.FileIO("/dev/full", "w")
    for step in range(40):
        monitor.add_scalars(step, {"loss": np.zeros(2)})
    monitor.add_hparams({"a": 1}, [{"final/mae": 1.0}] * 2)
    assert monitor.is_cut
    monitor.close()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        Monitor(tmp_path / "file", [0])


@pytest.mark.parametrize("damage", ["empty", "digit", "removed", "list", "field"])
def test_a_damaged_configuration_is_taken_from_its_copy_and_written_anew(run, damage):
    file = run / "config.json"
    content = file.read_text()
    identity = workdir.directory_identity(run)
    if damage == "removed":
        file.unlink()
    else:
        older = json.loads(content)
        older["config"]["train"].pop("own_weight")
        changed = {
            "empty": "", "list": "[]", "field": json.dumps(older), "digit": content.replace("0.001", "0.003"),
        }  # fmt: skip
        assert changed[damage] != content
        file.write_text(changed[damage])
    with pytest.warns(UserWarning, match="config.json: .*its copy"):
        assert open_run(run).config == runs.trained().config
    assert workdir.directory_identity(run) == identity
    assert len(workdir.repair(run)) == 1 and file.read_text() == content and not workdir.repair(run)


def test_data_may_move(run):
    file = run / "config.json"
    record = json.loads(file.read_text())
    record["config"]["data"] = "elsewhere.h5"
    file.write_text(json.dumps(record))
    assert open_run(run).config.data == "elsewhere.h5" and not workdir.repair(run)


def test_a_damaged_preparation_is_refused_and_written_anew_by_training(run):
    file, trained = run / "preparation.npz", runs.trained()
    whole = files.read_npz(file)
    prepared = prepare(runs.series(), trained.config.prepare, trained.config.split_seed)
    specs = make_model(trained.config, prepared)[1]
    for content in (b"", file.read_bytes()[:500], None):
        file.unlink() if content is None else file.write_bytes(content)
        with pytest.raises(UserError, match=r"preparation.npz: is (damaged|missing).*run the training again"):
            open_run(run)
        workdir.create_or_resume(run, trained.config, prepared, specs, overwrite=False)
        again = files.read_npz(file)
        assert again.keys() == whole.keys()
        for name, values in whole.items():
            np.testing.assert_array_equal(again[name], values)


def test_no_bit_of_an_npz_changes_unnoticed(tmp_path):
    path = tmp_path / "a.npz"
    files.write_npz(path, x=np.arange(9.0), name=np.asarray("text"), one=np.float32(1.0))
    arrays, whole = files.read_npz(path), path.read_bytes()
    for position in range(0, len(whole), 3):
        flip(path, position)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                again = files.read_npz(path)
            except UserError:
                again = arrays
        assert again.keys() == arrays.keys()
        for name, values in arrays.items():
            np.testing.assert_array_equal(again[name], values)
        path.write_bytes(whole)
