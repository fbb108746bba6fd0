"""The record of a watch: whatever a kill leaves of the file, whole lines stay and nothing is there twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrd_jax import files
from xrd_jax.commands import append_log
from xrd_jax.errors import UserError

HEADING = ["file", "scan", "voltage"]
# Any name that a file can have but one with a line break, which a watch refuses.
NAMES = st.text(st.characters(blacklist_characters="\r\n\0", blacklist_categories=("Cs",)), min_size=1, max_size=8)


def opened(path):
    log = append_log.AppendLog(path, HEADING)
    log.close()
    return log


@given(rows=st.lists(st.tuples(NAMES, st.integers(1, 3).map(str), st.just("3.71")), max_size=5), data=st.data())
def test_a_cut_loses_the_last_line_and_no_other(tmp_path_factory, rows, data):
    path = tmp_path_factory.mktemp("record") / "predictions.csv"
    content = files.csv_bytes([HEADING, *rows])
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    log = opened(path)
    written = [tuple(files.csv_cell(cell) for cell in row) for row in rows]  # control characters and formulas escaped
    # What is whole in the file, by its line ends alone.
    whole = content[:cut].count(b"\n")
    assert [tuple(row) for row in log.rows] == written[: max(whole - 1, 0)]
    assert log.is_repaired == (not content[:cut].endswith(b"\n") and cut > 0)
    again = append_log.AppendLog(path, HEADING)
    assert [tuple(row) for row in again.rows] == written[: max(whole - 1, 0)] and not again.is_repaired
    again.append(rows[max(whole - 1, 0) :])
    again.close()
    assert path.read_bytes() == content


def test_what_a_power_cut_leaves_is_dropped(tmp_path):
    path = tmp_path / "predictions.csv"
    content = files.csv_bytes([HEADING, ["a.xy", 1, 3.7], ["b.xy", 1, 3.8]])
    path.write_bytes(content + b"\0" * 40 + b"\n")
    assert [row[0] for row in opened(path).rows] == ["a.xy", "b.xy"]
    assert path.read_bytes() == content


def test_one_process_at_a_time(tmp_path):
    pytest.importorskip("fcntl")
    first = append_log.AppendLog(tmp_path / "predictions.csv", HEADING)
    with pytest.raises(UserError, match="another process is writing it"):
        append_log.AppendLog(tmp_path / "predictions.csv", HEADING)
    first.close()
    opened(tmp_path / "predictions.csv")


def test_a_full_disk_leaves_whole_lines(tmp_path, monkeypatch):
    path = tmp_path / "predictions.csv"
    log = append_log.AppendLog(path, HEADING)
    log.append([["a.xy", 1, 3.7]])
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(append_log.os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        log.append([["b.xy", 1, 3.8]])
    log.close()
    assert path.read_bytes() == before


def test_other_files_are_refused_and_kept(tmp_path):
    path = tmp_path / "predictions.csv"
    for content, message in (
        (b"name,value\nx,1\n", "other columns"),
        (b"file,scan,voltage\na.xy,1,3.7\nb.xy,1\nc.xy,1,3.9\n", "line 3 is damaged"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            opened(path)
        assert path.read_bytes() == content
    with pytest.raises(UserError, match="cannot be written"):
        opened(tmp_path / "nowhere" / "predictions.csv")
