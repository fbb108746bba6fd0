"""A saved series that somebody else made is a series, or one line; nothing outside the file is opened."""

from __future__ import annotations

import os
import warnings

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.series import make_series
from xrd_jax.errors import UserError
from xrd_jax.io.patterns import read_pattern
from xrd_jax.series.record import PatternSeries

LABELS = ("entry/data/time", "entry/data/two_theta", "entry/labels/cycle", "entry/labels/session")
MEMBERS = (*LABELS, "entry/data/intensity", "entry/targets/voltage", "entry/targets/mode", "entry/provenance")


@pytest.fixture
def path(tmp_path):
    make_series(frames=24, channels=8).save(tmp_path / "series.h5")
    return tmp_path / "series.h5"


def replace(path, name, make):
    """Put what `make(file, name)` creates in the place of a member."""
    with h5py.File(path, "a") as file:
        attributes = dict(file[name].attrs)
        del file[name]
        make(file, name)
        if isinstance(file.get(name, getlink=True), h5py.HardLink):
            file[name].attrs.update(attributes)


def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    return str(tmp_path / "pipe")


def external_link(tmp_path):
    target = pipe(tmp_path)
    return lambda file, name: file.__setitem__(name, h5py.ExternalLink(target, "/x"))


def soft_link_to_an_external_one(tmp_path):
    target = pipe(tmp_path)

    def make(file, name):
        file["away"] = h5py.ExternalLink(target, "/")
        file[name] = h5py.SoftLink("/away/x")

    return make


def virtual_source(tmp_path):
    target = pipe(tmp_path)

    def make(file, name):
        layout = h5py.VirtualLayout((24, 8), "u2")
        layout[:] = h5py.VirtualSource(target, "x", (24, 8))
        file.create_virtual_dataset(name, layout)

    return make


def raw_storage(tmp_path):
    target = pipe(tmp_path)
    return lambda file, name: file.create_dataset(name, (24, 8), "u2", external=[(target, 0, 384)])


def links_in_a_circle(tmp_path):
    return lambda file, name: file.__setitem__(name, h5py.SoftLink(f"/{name}"))


@pytest.mark.parametrize(
    "kind", [external_link, soft_link_to_an_external_one, virtual_source, raw_storage, links_in_a_circle]
)
@pytest.mark.parametrize("name", MEMBERS)
def test_nothing_outside_the_file_is_opened(path, tmp_path, kind, name):
    replace(path, name, kind(tmp_path))
    with pytest.raises(UserError, match=r"series\.h5: .*(in (an)?other file|is missing|not a pattern series)"):
        PatternSeries.load(path)


def test_a_link_inside_the_file_is_followed(path):
    expected = PatternSeries.load(path)
    with h5py.File(path, "a") as file:
        file.move("entry/data/intensity", "elsewhere/counts")
        file["entry/data/intensity"] = h5py.SoftLink("/elsewhere/counts")
    assert PatternSeries.load(path).fingerprint() == expected.fingerprint()
    assert PatternSeries.load(path, limit_bytes=0).fingerprint() == expected.fingerprint()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_pipes_folders_and_devices_are_no_files(tmp_path, make):
    for name in ("series.h5", "pattern.xy"):
        make(tmp_path / name)
        with pytest.raises(UserError, match="is no file but a folder, pipe or device"):
            PatternSeries.load(tmp_path / name) if name == "series.h5" else read_pattern(tmp_path / name)


def test_a_label_that_is_no_number_names_file_and_target(path):
    with h5py.File(path, "a") as file:
        file["entry/targets/mode"][3] = -1
    with pytest.raises(UserError, match=r"series\.h5: target 'mode': pattern 3 has the value -1"):
        PatternSeries.load(path)


DTYPES = ("S3", "O", "c8", "f2", "f8", "i1", "u8", "?", "V4", [("a", "f4"), ("b", "i2")])
SHAPES = ((), (0,), (24,), (25,), (24, 1), (24, 8), (8, 24), (24, 0), (2, 24, 8), (1 << 20, 1 << 20))


@settings(max_examples=60)
@given(st.sampled_from(MEMBERS), st.sampled_from(DTYPES), st.sampled_from(SHAPES), st.booleans())
def test_odd_shapes_and_types_are_one_line_without_warnings(tmp_path_factory, name, dtype, shape, is_chunked):
    path = tmp_path_factory.mktemp("odd") / "series.h5"
    make_series(frames=24, channels=8).save(path)
    kind = h5py.string_dtype() if dtype == "O" else np.dtype(dtype)
    is_chunked = (is_chunked or np.prod(shape) > 1e6) and 0 not in (len(shape), *shape)
    chunks = tuple(max(1, min(n, 8)) for n in shape) if is_chunked else None
    replace(path, name, lambda file, name: file.create_dataset(name, shape, kind, chunks=chunks))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            PatternSeries.load(path)
        except UserError as error:
            assert "series.h5: " in str(error) and "\n" not in str(error)
