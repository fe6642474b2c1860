"""What the commands for scans share: which scans are meant, one after the other, what is told of them, how to exit."""

import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from drasclr_core.base.errors import InputError, QualityError, printable
from drasclr_core.base.paths import check_name, check_writable
from drasclr_core.base.words import counted, examples

if TYPE_CHECKING:
    from drasclr_core.model.folder import Model

logger = logging.getLogger(__name__)

EXIT_BROKEN, EXIT_REFUSED = 1, 3

Work = Callable[[str, Callable[[str], None]], dict[str, Any]]
"""What is done with a scan, told where to report its steps; returns the metrics of its stages."""


class KeptError(Exception):
    """A scan's results are there already; the message says where."""


@dataclass(frozen=True)
class Outcome:
    """What became of a scan: ok; kept, as it was done before; refused, with the reason; failed, by no fault of it."""

    scan: str
    status: str
    reason: str | None
    seconds: float
    metrics: dict[str, Any] = field(default_factory=dict)


def check_output(path: Path, suffixes: tuple[str, ...]) -> None:
    """Refuse an output that could not be written, before the work for it is done.

    Raises
    ------
    InputError
        If its name is not UTF-8, the suffix is none of `suffixes`, its folder is not there, or it cannot be written.
    """
    check_name(path)
    if not path.parent.exists():
        raise InputError(f"{path}: there is no folder {path.parent}: mkdir -p {shlex.quote(str(path.parent))}")
    if not path.name.endswith(suffixes):
        raise InputError(f"{path}: the suffix says the format; give {' or '.join(suffixes)}.")
    check_writable(path)


def find_given(given: list[str]) -> list[str]:
    """Return the scans that are meant; a folder that is no DICOM series stands for all below it, which is told.

    Raises
    ------
    InputError
        If one is named twice, or is not there, or a folder holds DICOM files and others.
    """
    from drasclr_core.cohort.imports.scan_finder import scans_of

    if absent := [printable(scan) for scan in given if not os.path.lexists(scan)]:
        raise InputError(f"no such file or folder: {', '.join(absent)}: correct the path to the scan.")
    scans: list[str] = []
    for each in given:
        below, found = scans_of(each)
        scans += below
        if found is not None:
            told = [counted(len(below), "scan")]
            for paths, noun in ((found.label_maps, "label map"), (found.other, "other file")):
                if paths:
                    names = examples(printable(path.name) for path in paths)
                    told.append(f"{counted(len(paths), noun)} not taken ({names})")
            typer.echo(f"{printable(each)}: {', '.join(told)}", err=True)
    if twice := sorted({scan for scan in scans if scans.count(scan) > 1}):
        raise InputError(f"named twice: {', '.join(twice)}: name each scan once.")
    return scans


def warn(model: "Model") -> None:
    """Say what must be said beside whatever the model says of a scan."""
    for warning in model.scan_warnings:
        typer.echo(f"Warning: {warning}", err=True)


def run_scans(scans: list[str], work: Work, quiet: bool, model: "Model | None" = None) -> list[Outcome]:
    """Call work(scan, progress) for each scan; one that is refused, or fails, does not keep the others from it.

    Unless it is to be `quiet`, a line is printed as each ends; what the `model` says of a scan stands behind what must
    be said of the model.
    """
    outcomes = []
    doubt = ""
    if model is not None and model.origin_warning:
        doubt = f"not to be believed, for the encoder was trained on {model.trained_on}: "
    with _shown(len(scans)) as progress:
        for scan in scans:
            outcomes.append(_attempt(scan, work, progress))
            if not quiet:
                typer.echo(_line(outcomes[-1], doubt))
                sys.stdout.flush()  # else a pipe or a file shows nothing until the end
    return outcomes


def report(
    outcomes: list[Outcome],
    files: dict[str, str],
    as_json: bool,
    fault: str | None = None,
    model: "Model | None" = None,
) -> None:
    """Print where the results are and why they could not be written, as JSON also what became of the scans; exit so."""
    if as_json:
        content: dict[str, Any] = {"files": files, "scans": [asdict(outcome) for outcome in outcomes]}
        if model is not None:
            content["model"] = {"trained_on": model.trained_on, "warnings": model.scan_warnings}
        typer.echo(json.dumps(content, allow_nan=False))
    else:
        for name, path in files.items():
            typer.echo(f"{name}: {path}")
    states = {outcome.status for outcome in outcomes}
    if fault is not None:
        typer.echo(f"Error: {fault}", err=True)
    if fault is not None or "failed" in states:
        raise typer.Exit(EXIT_BROKEN)
    if "refused" in states:
        raise typer.Exit(EXIT_REFUSED)


def _attempt(scan: str, work: Work, progress: Callable[[str | None], None]) -> Outcome:
    start, name = time.perf_counter(), printable(scan)
    status, reason, metrics = "ok", None, {}
    try:
        metrics = work(scan, lambda step: progress(f"{Path(scan).name}: {step}"))
    except KeptError as error:
        status, reason = "kept", str(error)
    except (InputError, QualityError) as error:
        status, reason = "refused", str(error).removeprefix(f"{printable(Path(scan))}: ")
    except Exception as error:  # not the scan's fault, but the others' results shall not be lost for it
        logger.exception("%s failed", scan)
        status, reason = "failed", f"{type(error).__name__}: {error}"
    progress(None)
    return Outcome(name, status, reason, round(time.perf_counter() - start, 3), metrics)


def _line(outcome: Outcome, doubt: str) -> str:
    if outcome.reason is not None:
        return f"{outcome.scan}: {outcome.status}: {outcome.reason}"
    values = {name: value for stage in outcome.metrics.values() for name, value in stage.items()}
    shown = [("lung_l", "lungs {:.2f} l"), ("laa950_pct", "LAA-950 {:.1f} %"), ("dice", "Dice {:.2f}")]
    told = [text.format(values[name]) for name, text in shown if name in values]
    if "valid_landmarks" in values:
        told.append(f"{values['valid_landmarks']} of {values['landmarks']} landmarks")
    seen = [f"{name} {found['fraction']:.1%} of the lungs" for name, found in outcome.metrics.get("detect", {}).items()]
    told += [doubt + ", ".join(seen)] if seen else []
    told += values.get("warnings", [])
    return f"{outcome.scan}: ok: {', '.join(told)}"


@contextmanager
def _shown(count: int) -> Iterator[Callable[[str | None], None]]:
    """Show on a terminal how many scans are done, and the step that the yielded function is told (None: one more)."""
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=count)

        def progress(step: str | None) -> None:
            bar.advance(task) if step is None else bar.update(task, description=step)

        yield progress
