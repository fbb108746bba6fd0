"""One HTML file: everything inside, nothing fetched, names escaped; without JavaScript it is figures and tables."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from bokeh.palettes import Viridis256
from PIL import Image

from xrd_jax import files
from xrd_jax.page import encode, plots
from xrd_jax.page.content import Content

FILE = "report.html"
MAX_FIGURE_BYTES = 3_000_000  # of all embedded figures; of the rest the page says where they are
MAX_FIGURE_WIDTH = 1300  # pixels of an embedded figure: a screen shows no more, and a page must fit into a mail
PARTS = ("data.js", "heat.js", "frame.js", "report.js", "controls.js")
# No request may leave the page, whatever a name in it says; `eval` is how Bokeh's callbacks come to life.
POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "form-action 'none'; base-uri 'none'"
)


class Table(NamedTuple):
    """Cells, the header first."""

    caption: str
    rows: Sequence[Sequence[str]]


class Section(NamedTuple):
    """A part of the page below the panels."""

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    is_folded: bool = False


@dataclasses.dataclass(frozen=True)
class Page:
    """A whole page, before it is written."""

    title: str
    summary: Sequence[str]  # sentences at the top
    content: Content
    sections: Sequence[Section]
    figures: Sequence[Path]  # PNG files


def write(path: Path, page: Page) -> None:
    """Write a page as one file.

    Raises:
      UserError: the disk is full or the directory not writable.
    """
    files.write_bytes(path, html(page).encode("utf-8", "replace"))


def html(page: Page) -> str:
    """Return a page as HTML."""
    title, content = escape(page.title), page.content
    blocks = {"data": encode.record(content), "plots": plots.panels(content), "palette": list(Viridis256)}
    data = "".join(
        f'<script type="application/json" id="{name}">{encode.as_script(values)}</script>\n'
        for name, values in blocks.items()
    )
    program = "\n".join(_asset(name) for name in PARTS)
    summary = "".join(f"<p>{escape(line)}</p>" for line in (*page.summary, content.sampling))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{_asset("report.css")}</style>
</head>
<body>
<header><h1>{title}</h1>{summary}</header>
<noscript><p class="soft">Without JavaScript the panels stand still: figures and tables are below.</p></noscript>
<main>
{_asset("panels.html")}
{"".join(map(_section, page.sections))}
<section aria-labelledby="figures"><h2 id="figures">Figures</h2>{_figures(page.figures)}</section>
</main>
{data}<script>{plots.program()}</script>
<script>(() => {{
"use strict";
{program}
}})();</script>
</body>
</html>
"""


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text("utf-8")


def _section(section: Section) -> str:
    inner = "".join(f"<p>{escape(text)}</p>" for text in section.paragraphs) + "".join(map(_table, section.tables))
    title = escape(section.title)
    if section.is_folded:
        return f"<section><details><summary>{title}</summary>{inner}</details></section>\n"
    return f"<section><h2>{title}</h2>{inner}</section>\n"


def _table(table: Table) -> str:
    header, *rows = table.rows
    head = "".join(f'<th scope="col">{escape(str(cell))}</th>' for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    return f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _figures(paths: Sequence[Path]) -> str:
    """Return as many figures as there is room for, and the names of the others."""
    embedded, left_out = "", []
    for path in paths:
        figure = _figure(path)
        if len(embedded) + len(figure) > MAX_FIGURE_BYTES:
            left_out.append(path.name)
        else:
            embedded += figure
    rest = f"<p>In the folder {escape(paths[0].parent.name)}: {escape(', '.join(left_out))}.</p>" if left_out else ""
    return embedded + rest


def _figure(path: Path) -> str:
    """Return a figure as part of the page, no larger than a screen and in 256 colours."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    if picture.width > MAX_FIGURE_WIDTH:
        height = round(picture.height * MAX_FIGURE_WIDTH / picture.width)
        picture = picture.resize((MAX_FIGURE_WIDTH, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.quantize(256).save(buffer, "PNG")
    name, data = escape(path.stem.replace("_", " ")), base64.b64encode(buffer.getvalue()).decode()
    source = f"data:image/png;base64,{data}"
    size = f'width="{picture.width}" height="{picture.height}"'
    return f'<figure><img alt="{name}" {size} src="{source}"><figcaption class="soft">{name}</figcaption></figure>\n'
