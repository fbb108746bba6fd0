"""Hostile and damaged files end in one line, quickly and in little memory; a short run of the fuzzer says the same."""

from __future__ import annotations

import io
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from experiments.benchmarks import file_mutations, reader_fuzzing, synthetic_files
from tests.support.pattern_files import refusal, write_file
from xrd_jax.io import patterns

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from /proc")
SCAN = (10.0, 0.02, np.arange(30) % 7 * 13)


def refused(tmp_path, content, name):
    """The one line of the refusal, which must come within seconds and four times the file plus 200 MiB."""
    path = write_file(tmp_path, content, name)
    before, begun = reader_fuzzing.reset_peak_memory(), time.process_time()
    line = refusal(path)
    peak, seconds = reader_fuzzing.memory_bytes("VmHWM") - before, time.process_time() - begun
    assert peak < 4 * len(content) + 200 * 2**20 and seconds < 20
    return line


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_documents_that_declare_types_or_entities_are_refused(tmp_path, encoding):
    laughs = "<!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;'>]>"
    text = synthetic_files.xrdml([SCAN]).decode().replace("UTF-8", encoding).replace("?>\n", "?>\n" + laughs)
    text = text.replace('status="Completed"', 'status="&b;"')
    assert "declares a document type" in refused(tmp_path, text.encode(encoding), "a.xrdml")


def test_xml_of_too_many_elements_is_refused(tmp_path):
    line = refused(tmp_path, b"<xrdMeasurements>" + b"<a/>" * 500_000, "a.xrdml")
    assert "400000 elements" in line


def test_deep_xml_is_refused(tmp_path):
    refused(tmp_path, b"<xrdMeasurements>" + b"<scan>" * 100_000, "a.xrdml")


@pytest.mark.parametrize("name", ["../../x.xml", "/etc/x", "..\\x", "C:\\x.txt"])
def test_archives_whose_names_lead_out_are_refused(tmp_path, name):
    members = {"Data0/Profile0.txt": b"1\t2\t1\n2\t3\t1\n", name: b"x"}
    assert "leads out of it" in refused(tmp_path, synthetic_files.archive(members), "a.rasx")


def test_zip_bombs_are_not_unpacked(tmp_path):
    bomb = synthetic_files.archive({"Data0/Profile0.txt": b"0" * (40 << 20)})
    assert len(bomb) < 2**17 and "would unpack to 40 MiB" in refused(tmp_path, bomb, "a.rasx")
    bomb = synthetic_files.archive({"Experiment0/RawData0.xml": b"<a>" + b"1" * (34 << 20)})
    assert "would unpack to 34 MiB" in refused(tmp_path, bomb, "a.brml")


def test_a_member_that_is_longer_than_it_says_is_refused(tmp_path):
    data = bytearray(synthetic_files.archive({"Data0/Profile0.txt": b"1\t2\t1\n2\t3\t1\n" * 100_000}))
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        struct.pack_into("<I", data, data.index(signature) + offset, 28)
    refused(tmp_path, bytes(data), "a.rasx")


def test_archives_of_endless_directories_are_refused(tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as opened:
        for i in range(50_000):
            opened.writestr(f"{i}", b"")
    assert "more members" in refused(tmp_path, stream.getvalue(), "a.brml")


@pytest.mark.parametrize("content", [b"1 " * 12_000_000, b"1 2\n" * 9_000_000, b"#" * 40_000_000, b"\n" * 40_000_000])
def test_text_of_millions_of_lines_is_refused(tmp_path, content):
    refused(tmp_path, content, "a.xy")


def test_a_long_text_is_read_in_little_memory(tmp_path):
    path = tmp_path / "a.xy"
    path.write_text("".join(f"{i}.5 {i % 9}\n" for i in range(300_000)))
    before = reader_fuzzing.reset_peak_memory()
    pattern = patterns.read_pattern(path)
    peak = reader_fuzzing.memory_bytes("VmHWM") - before
    assert pattern.axis.size == 300_000 and peak < 4 * path.stat().st_size + 200 * 2**20


@pytest.mark.parametrize("form", ["RAW", "RAW2", "RAW1.01", "RAW4.00"])
def test_lengths_are_compared_before_memory_is_taken(tmp_path, form):
    _, write, _ = synthetic_files.FORMATS[form]
    content = write([SCAN])
    offset = {"RAW": 4, "RAW2": 258, "RAW1.01": 716, "RAW4.00": 61 + 40 + 136 + 88}[form]
    width = 2 if form == "RAW2" else 4
    assert content[offset : offset + 2] == (30).to_bytes(2, "little")
    for count in (0x7FFFFFFF, 0xFFFF):
        huge = bytearray(content)
        huge[offset : offset + width] = count.to_bytes(4, "little")[:width]
        assert "it is cut" in refused(tmp_path, bytes(huge), "a.raw")


def test_a_damaged_heap_does_not_make_hdf5_loop(tmp_path):
    content = bytearray(synthetic_files.nexus([SCAN]))
    start = content.index(b"GCOL") + 16
    while content[start : start + 2] != b"\x00\x00":  # to the free rest, whose length is then set to nothing
        start += 16 + (int.from_bytes(content[start + 8 : start + 16], "little") + 7) // 8 * 8
    content[start + 8 : start + 16] = bytes(8)
    assert "heap of texts is damaged" in refused(tmp_path, bytes(content), "a.nxs")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"RAW_1.06Powdat\x00", "Stoe WinXPOW"),
        (b"FI\x00\x00" + b"\x00" * 60, "Rigaku"),
        (b"\x1f\x8b\x08" + b"\x00" * 60, "unpack it first"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 60, "save the sheet as .csv"),
        (synthetic_files.archive({"xl/workbook.xml": b"<a/>"}), "an Excel workbook"),
        (synthetic_files.archive({"a.txt": b"1 2"}), "a zip archive"),
        (b"<?xml version='1.0'?><gpx></gpx>", "not a pattern"),
    ],
)
def test_foreign_files_are_named(tmp_path, content, words):
    assert words in refused(tmp_path, content, "a.raw")


def test_fuzz(tmp_path):
    """A few hundred damaged files in this process; `experiments.benchmarks.reader_fuzzing` tries thousands."""
    files = file_mutations.seed_files()
    counts = {"read": 0, "refused": 0}
    for number in range(10**6, 10**6 + 300):
        name, content = file_mutations.mutate(number, files)
        path = write_file(tmp_path, content, name)
        result = reader_fuzzing.outcome(path)
        assert result in counts, f"input {number}: {result}"
        counts[result] += 1
        path.unlink()
    assert min(counts.values()) > 30
