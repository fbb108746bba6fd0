"""A page holds what was measured, in few bytes, and no name in it becomes anything but text."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.support.pages import EVIL, make_content, make_page
from xrd_jax.page import content, document, encode
from xrd_jax.series.axis import Axis


class Reader(HTMLParser):
    """All elements with their attributes, and the text outside scripts and styles."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] not in ("script", "style"):
            self.text += data


def unpacked(record: dict) -> np.ndarray:
    values = np.frombuffer(zlib.decompress(base64.b64decode(record["data"])), record["type"])
    return values.reshape(record["shape"])


@pytest.fixture(scope="module")
def text() -> str:
    return document.html(make_page(make_content(EVIL)))


@pytest.mark.parametrize("count", [10, 12_000])
def test_intensities_come_back_within_half_a_step_of_their_root(count):
    values = np.random.default_rng(0).normal(3.0, 40.0, (count, 96)) * np.arange(96)
    record = encode.packed_intensity(values)
    root = record["low"] + record["step"] * unpacked(record["code"])
    assert np.abs(root - np.sign(values) * np.sqrt(np.abs(values))).max() <= 0.5001 * record["step"]
    assert record["code"]["type"] == ("uint16" if values.size <= encode.SIXTEEN_BITS_BELOW else "uint8")


def test_a_map_keeps_where_it_has_no_value():
    codes = unpacked(encode.packed_map(np.array([[0.0, 0.5, 1.0, np.nan]])))
    np.testing.assert_array_equal(codes, [[0, 127, 254, encode.NO_VALUE]])


def test_rows_of_a_view_are_the_nearest_patterns_and_pauses_are_blank():
    time = np.concatenate([np.arange(5.0), np.arange(20.0, 25.0)])
    view = content.view("a", np.arange(10), time, "Time (h)")
    assert view.grid.tolist() == [0, 1, 2, 3, 4, *[-1] * 15, 5, 6, 7, 8, 9]
    single = content.view("b", np.array([7]), np.array([3.0]), "Time (h)")
    assert single.grid.tolist() == [0]


def test_sessions_are_views_of_their_own_and_all_patterns_are_one_more():
    time, session = np.array([0.0, 10.0, 0.0, 10.0, 20.0]), np.array([0, 0, 1, 1, 1])
    views = content.session_views(session, ("a", "b"), time, True)
    assert [(view.name, view.rows.tolist()) for view in views] == [
        ("b", [2, 3, 4]), ("a", [0, 1]), ("all, by number", [0, 1, 2, 3, 4]),
    ]  # fmt: skip
    assert [view.name for view in content.session_views(session, ("a", "b"), time, False)] == ["all, by number"]


def test_channels_are_averaged_until_a_page_can_hold_them():
    values = np.random.default_rng(0).poisson(50, (content.MAX_PATTERNS, 700)).astype(np.uint16)
    starts = content.channel_groups(700, len(values))
    shown = content.averaged(values, np.arange(len(values)), starts)
    axis = content.averaged_axis(Axis(np.arange(700.0)), starts)
    assert shown.size <= content.MAX_VALUES and starts.size == 234
    np.testing.assert_allclose(shown[5, :3], values[5, :9].reshape(3, 3).mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(axis.values[:2], [1.0, 4.0])
    np.testing.assert_allclose(shown[5, -1], values[5, 699])


def test_a_map_on_other_channels_takes_the_nearest_value():
    moved = content.on_axis(np.array([[1.0, 2.0, 3.0]]), np.array([0.0, 1.0, 2.0]), np.array([-2.0, 0.2, 1.6, 2.5]))
    np.testing.assert_array_equal(moved, [[np.nan, 1.0, 3.0, 3.0]])


def test_names_are_text_wherever_they_stand(text):
    scripts = [attributes for tag, attributes in Reader(text).elements if tag == "script"]
    assert len(scripts) == 5 and EVIL not in text
    assert EVIL in Reader(text).text  # what a reader sees
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert data["names"][3] == f"pattern 3 {EVIL}" and data["views"][0]["name"] == EVIL
    assert data["targets"][1]["classes"][3] == EVIL


def test_nothing_in_a_page_is_elsewhere(text):
    for tag, attributes in Reader(text).elements:
        for name in ("src", "href", "action", "data", "srcset"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
    assert "default-src 'none'" in document.POLICY and document.POLICY in text


def test_eight_thousand_patterns_of_noise_fit_into_a_mail():
    content_ = make_content()
    rng, shape = np.random.default_rng(0), (content.MAX_PATTERNS, 256)
    noise = rng.random(shape, np.float32)
    rows = np.arange(shape[0])
    targets = tuple(
        dataclasses.replace(
            panel, predicted=noise[:, 0], measured=noise[:, 1], low=None, high=None, probabilities=noise[:, :64]
        )
        for panel in content_.targets
    )
    large = dataclasses.replace(
        content_, axis=Axis(np.arange(256.0)), intensity=1e4 * noise, names=[f"pattern {row}" for row in rows],
        roles=np.zeros(shape[0], np.uint8), views=content.session_views(0 * rows, ["a"], 1.0 * rows, True),
        targets=targets, layers={"VAW": noise},
    )  # fmt: skip
    assert len(document.html(make_page(large))) < 12e6 - document.MAX_FIGURE_BYTES
