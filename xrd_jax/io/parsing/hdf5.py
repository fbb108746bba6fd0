"""HDF5 files from strangers: members found without leaving the file, filters by name, errors in one line."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.plugins import import_extra
from xrd_jax.io.parsing.text import refusing
from xrd_jax.series.hdf5_members import check_text_length, find_member, open_contained

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MARK = "::"
_MAX_MEMBERS = 5000
_MAX_NAMES = _MAX_DEFAULTS = 8  # in a list of axes, of groups along @default
# What h5py raises for damage.
_DAMAGE = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)


def split_inner_path(path: Path) -> tuple[Path, str]:
    """Return the file, and what is written after `::`."""
    file, _, inner = str(path).partition(_MARK)
    return Path(file), inner.replace("\\", "/")


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[h5py.File]:
    """Open a file; whatever HDF5 stumbles over while it is open becomes a `UserError`."""
    file_path, _ = split_inner_path(path)
    problem = f"{path}: damaged HDF5, or being written"
    with refusing(problem, "copy or export it again", _DAMAGE), open_contained(file_path) as file:
        yield file


def get_member(group: h5py.Group, name: str, path: Path) -> Any:
    """Return a member, or None; `UserError` where it leads out of the file, or its filter is not installed."""
    member = find_member(group, name, path)
    if isinstance(member, h5py.Dataset):
        _register_filters(member, path)
    return member


def get_dataset(group: h5py.Group, name: str, path: Path) -> h5py.Dataset | None:
    """Return a member that is a dataset, or None."""
    member = get_member(group, name, path)
    return member if isinstance(member, h5py.Dataset) else None


def default_groups(file: h5py.File, path: Path) -> Iterator[h5py.Group]:
    """Yield the file and the groups that lead from it to the default plot; a longer chain goes in circles."""
    group: Any = file
    for _ in range(_MAX_DEFAULTS):
        yield group
        name = to_text(group.attrs.get("default"))
        group = get_member(group, name, path) if name else None
        if not isinstance(group, h5py.Group):
            return


def _register_filters(data: h5py.Dataset, path: Path) -> None:
    """Register the compression filters of the extra, where a dataset needs one that HDF5 lacks."""
    stored = data.id.get_create_plist()
    missing = [n for i in range(stored.get_nfilters()) if not h5py.h5z.filter_avail(n := stored.get_filter(i)[0])]
    if not missing:
        return
    problem = f"{path}: {data.name} is compressed by filter {missing[0]}, which"
    import_extra("hdf5plugin", f"{problem} needs pip install 'xrd_jax[beamline]'")  # importing it registers its filters
    if not all(map(h5py.h5z.filter_avail, missing)):
        raise UserError(f"{problem} is not known; write it with gzip")


def walk_groups(file: h5py.File, path: Path) -> Iterator[h5py.Group]:
    """Yield the groups of the file from the top down, each once, without following links out of it."""
    waiting, visited, members = [file], set(), 0
    while waiting:
        group = waiting.pop(0)
        address = h5py.h5o.get_info(group.id).addr
        if address in visited:
            continue
        visited.add(address)
        yield group
        for name in group:
            members += 1
            if members > _MAX_MEMBERS:
                raise UserError(f"{path}: has over {_MAX_MEMBERS} members; name one as {path.name}::/path/to/data")
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.HardLink) and isinstance(child := group.get(name), h5py.Group):
                waiting.append(child)


def read_text(group: h5py.Group, name: str, path: Path) -> str:
    """Return the text or number of a dataset of one element, '' without one; a length that cannot be is damage."""
    data = get_dataset(group, name, path)
    if data is None or data.size != 1:
        return ""
    check_text_length(data)
    return to_text(data[()])


def to_text(value: Any) -> str:
    """Return the text of an attribute or a scalar, whatever type it was written as; '' for None."""
    value = value.ravel()[0] if isinstance(value, np.ndarray) and value.size == 1 else value
    if isinstance(value, np.ndarray) or value is None or isinstance(value, Mapping):
        return ""
    return value.decode("utf-8", "replace").strip() if isinstance(value, bytes) else str(value).strip()


def to_names(value: Any) -> list[str]:
    """Return a list of names; older files part them by colons or commas in one text."""
    if isinstance(value, np.ndarray) and value.size != 1:
        return [to_text(item) for item in value.ravel()[:_MAX_NAMES]]
    text = to_text(value).strip("[]")
    return [part.strip() for part in text.replace(",", ":").split(":")] if text else []
