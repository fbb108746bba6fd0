"""The linked panels: figures of Bokeh without data, which the page's own program fills and moves."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.embed import json_item
from bokeh.events import MouseLeave, MouseMove, RangesUpdate, Tap
from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    CustomJS,
    CustomJSTickFormatter,
    FixedTicker,
    GridBox,
    LabelSet,
    PlainText,
    Range1d,
    Span,
)  # fmt: skip
from bokeh.plotting import figure
from bokeh.resources import Resources

from xrd_jax.page.content import Content

ORANGE, BLUE, GREY = "#d55e00", "#0072b2", "#808080"  # Okabe and Ito: told apart by the colour-blind too
TALL, LOW = 430, 290  # pixels of the upper and the lower row
TOOLS = "pan,box_zoom,wheel_zoom,reset"


def plain(text: str) -> str:
    """Return a text in which no plotting library finds mathematics to typeset."""
    return text.replace("$$", "$\u200b$").replace("\\(", "\\\u200b(").replace("\\[", "\\\u200b[")


def program() -> str:
    """Return Bokeh's program for browsers, of the installed version."""
    return Resources(mode="inline", components=["bokeh"]).js_raw[0]


def panels(content: Content) -> dict[str, Any]:
    """Return the panels as JSON for `Bokeh.embed.embed_item`, which puts them into the element 'panels'."""
    positions = content.axis.values
    shared_x = Range1d(float(positions[0]), float(positions[-1]), name="x_range")
    shared_y = Range1d(0.0, 1.0, name="y_range")
    heat = _panel("heat", TALL, x_range=shared_x, y_range=shared_y, tools=TOOLS, active_scroll="wheel_zoom")
    side = _panel("side", TALL, x_range=Range1d(0.0, 1.0), y_range=shared_y, tools=TOOLS, active_scroll="wheel_zoom")
    pattern = _panel("pattern", LOW, x_range=shared_x, y_range=Range1d(0.0, 1.0), tools=TOOLS)
    chance = _panel("chance", LOW, x_range=Range1d(0.0, 1.0), y_range=Range1d(0.0, 1.0), tools="")
    _fill_heat(heat)
    _fill_side(side)
    _fill_pattern(pattern)
    _fill_chance(chance)
    for item in (heat, side, pattern):
        _listen(item)
    cells: list[tuple[Any, int, int]] = [(heat, 0, 0), (side, 0, 1), (pattern, 1, 0), (chance, 1, 1)]
    columns = {0: "2.6fr", 1: "1fr"}
    box = GridBox(children=cells, cols=columns, spacing=4, sizing_mode="stretch_width")
    return dict(json_item(box, "panels"))


def _panel(name: str, height: int, **options: Any) -> figure:
    item = figure(
        name=name, height=height, sizing_mode="stretch_width", output_backend="canvas", toolbar_location="above",
        min_border_left=64, min_border_right=12, **options,
    )  # fmt: skip
    item.toolbar.logo, item.toolbar.autohide = None, False
    item.axis.axis_label = PlainText(text=" ")  # room for what is written there later
    return item


def _source(name: str, *columns: str) -> ColumnDataSource:
    return ColumnDataSource({column: [] for column in columns}, name=name)


def _spans(item: figure) -> None:
    """Add the cross-hair: a line in time and one on the axis, on a canvas of their own that is drawn anew alone."""
    look: dict[str, Any] = {"location": None, "line_color": ORANGE, "line_width": 1.2, "level": "overlay"}
    for dimension in ("width", "height"):
        item.add_layout(Span(dimension=dimension, name=f"{item.name}_{dimension}", **look))


def _fill_heat(heat: figure) -> None:
    nothing = {"image": [np.zeros((1, 1), np.uint32)], "x": [0], "y": [0], "dw": [1], "dh": [1]}
    heat.image_rgba("image", "x", "y", "dw", "dh", source=ColumnDataSource(nothing, name="heat_image"))
    heat.hspan("y", source=_source("heat_kept", "y", "colour"), line_color="colour", line_width=1.6, line_dash="dashed")
    heat.grid.visible = False
    _spans(heat)


def _both_tickers(axis: Any) -> None:
    """Give an axis tickers for numbers and for classes; the page's program takes the one that suits the target."""
    axis.tags = [BasicTicker(), FixedTicker(ticks=[])]


def _fill_side(side: figure) -> None:
    _both_tickers(side.xaxis[0])
    side.patches("xs", "ys", source=_source("band", "xs", "ys"), fill_color=ORANGE, fill_alpha=0.3, line_color=None)
    side.line("x", "y", source=_source("measured", "x", "y"), line_width=1.4, name="measured_line")
    dots = _source("predicted", "x", "y", "colour")
    side.scatter("x", "y", source=dots, size=3.2, line_color=None, fill_color="colour", fill_alpha=0.9)
    side.hspan("y", source=_source("side_kept", "y", "colour"), line_color="colour", line_width=1.6, line_dash="dashed")
    _spans(side)


def _fill_pattern(pattern: figure) -> None:
    pattern.extra_y_ranges = {"map": Range1d(0.0, 1.0)}
    shade = _source("shade", "x", "y")
    pattern.varea("x", 0, "y", source=shade, y_range_name="map", fill_color=ORANGE, fill_alpha=0.3, name="shade_area")
    marks = _source("reflections", "x", "y", "text")
    pattern.vspan("x", source=marks, line_color=GREY, line_width=0.8, line_dash="dotted")
    kept = _source("kept_lines", "xs", "ys", "colour")
    pattern.multi_line("xs", "ys", source=kept, line_color="colour", line_width=1.2)
    pattern.line("x", "y", source=_source("line", "x", "y"), line_width=1.5, name="pattern_line")
    labels = LabelSet(
        x="x", y="y", text="text", source=marks, angle=1.5708, text_font_size="10px", text_align="right",
        text_baseline="top", y_units="screen", x_offset=2, name="reflection_labels",
    )  # fmt: skip
    pattern.add_layout(labels)
    pattern.yaxis.ticker = FixedTicker(ticks=[], name="pattern_ticks")
    pattern.yaxis.formatter = CustomJSTickFormatter(code="return window.xrdReport ? window.xrdReport.format(tick) : ''")
    _spans(pattern)


def _fill_chance(chance: figure) -> None:
    _both_tickers(chance.yaxis[0])
    bars = _source("bars", "left", "right", "bottom", "top")
    chance.quad("left", "right", "bottom", "top", source=bars, fill_color=BLUE, fill_alpha=0.75, line_color=None)
    chance.vspan("x", source=_source("chance_truth", "x"), line_width=1.5, line_dash="dashed", name="truth_line")
    chance.hspan("y", source=_source("class_truth", "y"), line_width=1.5, line_dash="dashed", name="class_line")
    chance.toolbar_location = None


def _listen(item: figure) -> None:
    """Tell the page's program of the mouse and of ranges; `xrdReport` is there once the panels are."""
    calls = {
        MouseMove: "move(cb_obj.origin.name, cb_obj.x, cb_obj.y)",
        MouseLeave: "leave()",
        Tap: "keep()",
        RangesUpdate: "ranges()",
    }
    for event, call in calls.items():
        item.js_on_event(event, CustomJS(code=f"if (window.xrdReport) window.xrdReport.{call}"))
