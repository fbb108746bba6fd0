"""A page made of a small series, and Chromium to open it in where there is one."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.series import make_series
from xrd_jax.page import content, document
from xrd_jax.page.content import Content, TargetPanel

EVIL = "<script>alert(1)</script>"  # a name as a file may have it
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def make_content(name: str = "first") -> Content:
    """Return the content of a series of two sessions with a band, a distribution, classes and a layer."""
    series = dataclasses.replace(make_series(), session_names=(name, "second"))
    starts, rng = content.channel_groups(series.axis.values.size, len(series)), np.random.default_rng(0)
    voltage, mode = (series.targets[target].values.astype(float) for target in ("voltage", "mode"))
    bins = np.exp(-0.5 * ((np.linspace(3.5, 4.3, 32) - voltage[:, None]) / 0.05) ** 2)
    bins /= bins.sum(axis=1, keepdims=True)
    panels = (
        TargetPanel(
            "voltage", "V", (), voltage + 0.01, voltage, voltage - 0.05, voltage + 0.07, "90 %", bins, (3.5, 4.3)
        ),
        TargetPanel("mode", "", ("c1", "c2", "d1", EVIL), mode, mode, probabilities=np.eye(4)[mode.astype(int)]),
    )
    return Content(
        axis=content.averaged_axis(series.axis, starts),
        intensity=content.averaged(series.intensity, np.arange(len(series)), starts),
        intensity_label="Counts",
        names=[f"pattern {number} {EVIL}" for number in range(len(series))],
        roles=(series.cycle % 2).astype(np.uint8),
        role_names=("trained on", "held out"),
        views=content.session_views(series.session, series.session_names, series.time, series.timed),
        targets=panels,
        layers={"VAW": rng.random(series.intensity.shape).astype(np.float32)},
        reflections={"static": 22.0, EVIL: 24.0},
        sampling="Shown are all 240 patterns.",
    )


def make_page(shown: Content) -> document.Page:
    """Return a page with a table and without figures."""
    table = document.Table("errors", [["target", EVIL], ["voltage", "1.0"]])
    return document.Page(f"a run of {EVIL}", ["A sentence."], shown, [document.Section("Results", [EVIL], [table])], [])


def chromium() -> str:
    """Return the browser's program; the test is skipped where none is installed."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    paths = filter(None, map(shutil.which, BROWSERS))
    return next(paths, None) or pytest.skip("no Chromium is installed: apt-get install chromium")


class Browser:
    """A page that is open in Chromium, with what it said and what it asked for."""

    def __init__(self, tab: Any):
        self.tab, self.errors, self.requests = tab, [], []
        tab.on("console", lambda line: self.errors.append(line.text) if line.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: self.errors.append(str(error)))
        tab.on("request", lambda request: self.requests.append(request.url))

    def open(self, path: Path, fragment: str = "") -> None:
        """Open a page anew and wait until its panels stand."""
        self.tab.goto("about:blank")
        self.requests.clear()
        self.tab.goto(path.as_uri() + fragment)
        self.tab.wait_for_selector("#interactive[data-ready]", timeout=120_000)

    def shown(self) -> dict[str, str]:
        """Return what the page says of the pattern that is shown."""
        script = (
            "Array.from(document.querySelectorAll('#readout span'), (s) => [s.dataset.name, s.lastChild.textContent])"
        )
        return dict(self.tab.evaluate(script))

    def state(self, expression: str) -> Any:
        """Return an expression of the page's own state `page` and models by name `find`."""
        find = "const page = xrdReport.page, find = (name) => page.model.get_model_by_name(name);"
        return self.tab.evaluate(f"() => {{ {find} return {expression}; }}")


def start_chromium() -> Iterator[Any]:
    """Yield a running browser, and end it."""
    program = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        process = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield process
        process.close()
