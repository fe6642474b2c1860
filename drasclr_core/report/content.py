"""One HTML page of everything that was found: no network, no script, pictures inside."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from drasclr_core.base.files import read_json
from drasclr_core.config.checks import digest
from drasclr_core.figures.drawing import DPI
from drasclr_core.figures.training import describe_training
from drasclr_core.report.flow import CohortFlow
from drasclr_core.report.markdown import markdown_title, render_markdown
from drasclr_core.report.page import render_page

SHOWN_DPI = 100
"""On a screen of ordinary density, letters in pictures are then about as large as those around them."""


@dataclass(frozen=True)
class Picture:
    """A picture with what a reader must know of it; `image` is a data URI, to be shown `width_px` wide, or empty."""

    anchor: str
    title: str
    image: str
    width_px: int
    notes: Sequence[str] = ()
    data_path: str = ""


@dataclass(frozen=True)
class Table:
    """A table as HTML that is safe to embed."""

    anchor: str
    title: str
    html: str
    data_path: str


@dataclass(frozen=True)
class Report:
    """All that the page shows, in its order."""

    title: str
    flows: Sequence[CohortFlow]
    tables: Sequence[Table]
    figures: Sequence[Picture]
    trainings: Sequence[Picture]
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    date: str
    commit: str | None = None


def read_table(markdown: str | Path) -> Table:
    """Return the table that `drasclr_core.report.tables.table_markdown` wrote, with the CSV beside it named."""
    path = Path(markdown)
    text = path.read_text(encoding="utf-8")
    return Table(path.stem, markdown_title(text), render_markdown(text), str(path.with_suffix(".csv")))


def read_picture(png: str | Path, title: str, notes: Sequence[str] = (), anchor: str = "") -> Picture:
    """Return a PNG file as a picture that needs no file; the CSV beside it is named."""
    path = Path(png)
    content = path.read_bytes()
    stored_px = int.from_bytes(content[16:20], "big")  # the header's first field
    image = f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
    width_px = round(stored_px * SHOWN_DPI / DPI)
    return Picture(anchor or path.stem, title, image, width_px, notes, str(path.with_suffix(".csv")))


def read_figure(png: str | Path) -> Picture:
    """Return a figure that `drawing.make_figure` wrote, with the title and notes that lie beside it.

    One of which nothing could be drawn is its words alone.
    """
    words = read_json(Path(png).with_suffix(".json"))
    picture = read_picture(png, words["title"], words["notes"])
    return picture if words["drawn"] else replace(picture, image="")


def read_training(png: str | Path) -> Picture:
    """Return ``results/{cohort}/{atlas}/runs/{training}/training.png``, described by the CSV beside it."""
    path = Path(png)
    # The first training of a run has the run's folder, the others have a folder in it.
    depth = 1 if path.parts[-3] == "runs" else 2
    run = "/".join(path.parent.parts[-depth:])
    cohort, atlas, _ = path.parents[depth].parts[-3:]
    notes = describe_training(pd.read_csv(path.with_suffix(".csv")))
    return read_picture(path, f"{run} (cohort {cohort}, atlas {atlas})", notes, f"training-{cohort}-{atlas}-{run}")


def render_report(report: Report) -> str:
    """Return the page: HTML5 with its own style, every text escaped, the same bytes for the same content."""
    return render_page(
        "report.html.j2",
        title=report.title,
        flows=report.flows,
        tables=report.tables,
        figures=report.figures,
        trainings=report.trainings,
        config=yaml.safe_dump(dict(report.config), sort_keys=False, default_flow_style=None, width=110),
        config_hash=digest(dict(report.config)),
        versions=report.versions,
        date=report.date,
        commit=report.commit,
    )
