"""The commands for people with scans and a trained model."""

import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from drasclr_core.errors import InputError, QualityError, printable
from drasclr_core.paths import check_name, check_writable
from drasclr_core.settings import Features

if TYPE_CHECKING:
    from drasclr_core.embedding_scan import ScanReader

logger = logging.getLogger(__name__)

EXIT_BROKEN, EXIT_REFUSED = 1, 3

Scans = Annotated[list[str], typer.Argument(help="NIfTI, NRRD or MHA files, or folders of one DICOM series each.")]
ModelFolder = Annotated[Path, typer.Option("--model", help="Model folder of a training.")]
LungWeights = Annotated[
    Path | None,
    typer.Option(help="Weights of lungmask, where the model needs them.", show_default="as `drasclr fetch-weights`"),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda; auto takes a GPU where there is one.")]
Subtype = Literal["centrilobular", "paraseptal"]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")]


@dataclass(frozen=True)
class Outcome:
    """What became of a scan: ok; refused, with the reason; or failed, which is no fault of the scan."""

    scan: str
    status: str
    reason: str | None
    seconds: float
    metrics: dict[str, Any] = field(default_factory=dict)


def embed(
    scans: Scans,
    model: ModelFolder,
    output: Annotated[Path, typer.Option("--output", "-o", help="Table to write, .parquet or .csv.")],
    features: Annotated[
        Features, typer.Option(help="last: of the last layer, as in the paper; pooled, middle: and of earlier ones.")
    ] = "last",
    lung_weights: LungWeights = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Embed scans: mean features go to the output, those of every landmark beside it, to NAME.landmarks.parquet."""
    from drasclr_core.embedding_scan import TABLE_SUFFIXES, ScanFeatures, landmarks_path, write_features

    reader = scan_reader(model, device, lung_weights, output, TABLE_SUFFIXES, features)
    found: dict[str, ScanFeatures] = {}

    def work(scan: str, progress: Callable[[str], None]) -> dict[str, Any]:
        found[scan] = reader.embed(scan, progress)
        return found[scan].metrics

    outcomes = run_scans(scans, work, as_json)
    files: dict[str, str] = {}
    fault = None
    if found:
        try:
            write_features(found, reader.model, output)
            files = {"means": str(output), "landmarks": str(landmarks_path(output))}
        except OSError as error:
            fault = f"{output} cannot be written: {error}"
    report(outcomes, files, as_json, fault)


def detect(
    scan: Annotated[str, typer.Argument(help="NIfTI, NRRD or MHA file, or folder of one DICOM series.")],
    model: ModelFolder,
    output: Annotated[Path, typer.Option("--output", "-o", help="Image to write, such as mask.nii.gz.")],
    detectors: Annotated[
        Path | None, typer.Option(help="Detectors fine-tuned from the model.", show_default="`detector` beside it")
    ] = None,
    probability: Annotated[
        Subtype | None, typer.Option(help="Write the probability of this subtype instead of labels.")
    ] = None,
    stride: Annotated[int, typer.Option(min=1, help="Voxels between windows; half of it costs eight times more.")] = 8,
    lung_weights: LungWeights = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Write where a scan shows emphysema, on its own grid: 1 centrilobular, 2 paraseptal, 0 neither."""
    from drasclr_core.detection_scan import IMAGE_SUFFIXES, detect_scan, load_ensembles

    if output.exists() and Path(scan).exists() and output.samefile(scan):
        raise InputError(f"{output} is the scan itself: give another file to write.")
    reader = scan_reader(model, device, lung_weights, output, IMAGE_SUFFIXES)
    ensembles = load_ensembles(detectors or model.resolve().parent / "detector", reader.model)
    if probability is not None and not ensembles[probability]:
        others = ", ".join(subtype for subtype, found in ensembles.items() if found)
        raise InputError(f"--probability {probability}: there is no detector of it here, only of {others}.")

    def work(scan: str, progress: Callable[[str], None]) -> dict[str, Any]:
        return detect_scan(reader, ensembles, scan, output, progress, stride=stride, probability=probability)

    outcomes = run_scans([scan], work, as_json)
    files = {"image": str(output)} if outcomes[0].status == "ok" else {}
    report(outcomes, files, as_json)


def qc(
    scans: Scans,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", help="Model folder; without it the lungs are found by thresholds at 2 mm, and not registered."
        ),
    ] = None,
    device: Device = "auto",
    lung_weights: LungWeights = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the scan, of which there is one then, into this PNG file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say which scans would be refused, and why, with their lung volumes and densities; draw one on request."""
    from drasclr_core.embedding_scan import check_lungs

    if picture is not None:
        check_output(picture, (".png",))
        if len(scans) > 1:
            raise InputError(f"--picture draws one scan, not {len(scans)}: call it for each.")
    if lung_weights is not None and model is None:
        raise InputError("--lung-weights are for a model that says lungmask: give --model too.")
    reader = scan_reader(model, device, lung_weights) if model else None
    check = reader.check if reader else check_lungs
    if picture is not None:
        from drasclr_core.qc_scan import check_and_draw

        check = partial(check_and_draw, picture=picture, reader=reader)
    outcomes = run_scans(scans, check, as_json)
    report(outcomes, {"picture": str(picture)} if picture and picture.exists() else {}, as_json)


def scan_reader(
    model: Path,
    device: str,
    lung_weights: Path | None,
    output: Path | None = None,
    suffixes: tuple[str, ...] = (),
    features: Features = "last",
) -> "ScanReader":
    """Return the reader of a model folder, its encoder on a device, after a look at where its work is to go."""
    from drasclr_core.embedding_scan import ScanReader
    from drasclr_core.model_folder import load_model_to

    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device is {device!r}: give auto, cpu or cuda.")
    if output is not None:
        check_output(output, suffixes)
    return ScanReader.of(load_model_to(model, device, features=features), lung_weights)


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


def run_scans(
    scans: list[str], work: Callable[[str, Callable[[str], None]], dict[str, Any]], quiet: bool
) -> list[Outcome]:
    """Call work(scan, progress) for each scan; one that is refused, or fails, does not keep the others from it.

    Unless it is to be `quiet`, a line is printed as each ends.

    Raises
    ------
    InputError
        If a scan is named twice, or is not there.
    """
    if twice := sorted({scan for scan in scans if scans.count(scan) > 1}):
        raise InputError(f"named twice: {', '.join(twice)}: name each scan once.")
    if absent := [printable(scan) for scan in scans if not os.path.lexists(scan)]:
        raise InputError(f"no such file or folder: {', '.join(absent)}: correct the path to the scan.")
    outcomes = []
    with _shown(len(scans)) as progress:
        for scan in scans:
            outcomes.append(_attempt(scan, work, progress))
            if not quiet:
                typer.echo(_line(outcomes[-1]))
                sys.stdout.flush()  # else a pipe or a file shows nothing until the end
    return outcomes


def report(outcomes: list[Outcome], files: dict[str, str], as_json: bool, fault: str | None = None) -> None:
    """Print where the results are and why they could not be written, as JSON also what became of the scans; exit so."""
    if as_json:
        typer.echo(json.dumps({"files": files, "scans": [asdict(outcome) for outcome in outcomes]}, allow_nan=False))
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


def _attempt(
    scan: str, work: Callable[[str, Callable[[str], None]], dict[str, Any]], progress: Callable[[str | None], None]
) -> Outcome:
    start, name = time.perf_counter(), printable(scan)
    status, reason, metrics = "ok", None, {}
    try:
        metrics = work(scan, lambda step: progress(f"{Path(scan).name}: {step}"))
    except (InputError, QualityError) as error:
        status, reason = "refused", str(error).removeprefix(f"{printable(Path(scan))}: ")
    except Exception as error:  # not the scan's fault, but the others' results shall not be lost for it
        logger.exception("%s failed", scan)
        status, reason = "failed", f"{type(error).__name__}: {error}"
    progress(None)
    return Outcome(name, status, reason, round(time.perf_counter() - start, 3), metrics)


def _line(outcome: Outcome) -> str:
    if outcome.reason is not None:
        return f"{outcome.scan}: {outcome.status}: {outcome.reason}"
    values = {name: value for stage in outcome.metrics.values() for name, value in stage.items()}
    shown = [("lung_l", "lungs {:.2f} l"), ("laa950_pct", "LAA-950 {:.1f} %"), ("dice", "Dice {:.2f}")]
    told = [text.format(values[name]) for name, text in shown if name in values]
    if "valid_landmarks" in values:
        told.append(f"{values['valid_landmarks']} of {values['landmarks']} landmarks")
    told += [f"{name} {seen['fraction']:.1%} of the lungs" for name, seen in outcome.metrics.get("detect", {}).items()]
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
