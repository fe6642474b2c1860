"""The commands for people with scans and a trained model."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from drasclr_core.base.errors import InputError
from drasclr_core.cli.scan_run import KeptError, check_output, find_given, report, run_scans, warn
from drasclr_core.config.settings import Features

if TYPE_CHECKING:
    from drasclr_core.model.embed_append import GrowingTable
    from drasclr_core.model.embed_scan import ScanReader
    from drasclr_core.model.embed_tables import NewTable

Scans = Annotated[
    list[str],
    typer.Argument(help="NIfTI, NRRD or MHA files, folders of one DICOM series, or folders with such below."),
]
ModelFolder = Annotated[Path, typer.Option("--model", help="Model folder of a training.")]
LungWeights = Annotated[
    Path | None,
    typer.Option(help="Weights of lungmask, where the model needs them.", show_default="as `drasclr fetch-weights`"),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda; auto takes a GPU where there is one.")]
Subtype = Literal["centrilobular", "paraseptal"]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")]


def embed(
    scans: Scans,
    model: ModelFolder,
    output: Annotated[Path, typer.Option("--output", "-o", help="Table to write, .parquet or .csv.")],
    features: Annotated[
        Features, typer.Option(help="last: of the last layer, as in the paper; pooled, middle: and of earlier ones.")
    ] = "last",
    append: Annotated[
        bool, typer.Option("--append", help="Add to the output; what is there, or a killed call has done, is kept.")
    ] = False,
    lung_weights: LungWeights = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Embed scans: mean features go to the output, those of every landmark beside it, to NAME.landmarks.parquet."""
    from drasclr_core.model.embed_append import growing_table
    from drasclr_core.model.embed_tables import TABLE_SUFFIXES, NewTable, landmarks_path

    if append and output.suffix == ".csv":
        raise InputError(f"{output}: a CSV file does not say of which model and scans it is: --append needs .parquet.")
    reader = scan_reader(model, device, lung_weights, output, TABLE_SUFFIXES, features)
    found = find_given(scans)
    warn(reader.model)
    with growing_table(output, reader.model) if append else nullcontext(NewTable(output, reader.model)) as table:
        outcomes = run_scans(found, partial(_embed_into, table, reader), as_json)
        files: dict[str, str] = {}
        fault = None
        try:
            if table.write(found):
                files = {"means": str(output), "landmarks": str(landmarks_path(output))}
        except OSError as error:
            fault = f"{output} cannot be written: {error}"
    report(outcomes, files, as_json, fault, reader.model)


def _embed_into(
    table: "NewTable | GrowingTable", reader: "ScanReader", scan: str, progress: Callable[[str], None]
) -> dict[str, Any]:
    from drasclr_core.scan.content import content_sha256

    sha256 = content_sha256(scan)
    if sha256 in table.known:
        there = table.known[sha256]
        raise KeptError(f"its features are in {table.path} already" + (f", as of {there}" if there != scan else ""))
    if scan in table.known.values():
        raise InputError(
            f"{scan}: {table.path} has features of this name, of another content: rename the scan, or give another "
            "output."
        )
    features = reader.embed(scan, progress)
    table.add(scan, sha256, features)
    return features.metrics


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
    from drasclr_core.detect.scan import IMAGE_SUFFIXES, detect_scan, load_ensembles

    if output.exists() and Path(scan).exists() and output.samefile(scan):
        raise InputError(f"{output} is the scan itself: give another file to write.")
    reader = scan_reader(model, device, lung_weights, output, IMAGE_SUFFIXES)
    ensembles = load_ensembles(detectors or model.resolve().parent / "detector", reader.model)
    if probability is not None and not ensembles[probability]:
        others = ", ".join(subtype for subtype, found in ensembles.items() if found)
        raise InputError(f"--probability {probability}: there is no detector of it here, only of {others}.")

    find_given([scan])
    warn(reader.model)

    def work(scan: str, progress: Callable[[str], None]) -> dict[str, Any]:
        return detect_scan(reader, ensembles, scan, output, progress, stride=stride, probability=probability)

    outcomes = run_scans([scan], work, as_json, reader.model)
    files = {"image": str(output)} if outcomes[0].status == "ok" else {}
    report(outcomes, files, as_json, model=reader.model)


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
    from drasclr_core.model.embed_scan import check_lungs

    if picture is not None:
        check_output(picture, (".png",))
    found = find_given(scans)
    if picture is not None and len(found) > 1:
        raise InputError(f"--picture draws one scan, not {len(found)}: call it for each.")
    if lung_weights is not None and model is None:
        raise InputError("--lung-weights are for a model that says lungmask: give --model too.")
    reader = scan_reader(model, device, lung_weights) if model else None
    check = reader.check if reader else check_lungs
    if picture is not None:
        from drasclr_core.qc.scan import check_and_draw

        check = partial(check_and_draw, picture=picture, reader=reader)
    outcomes = run_scans(found, check, as_json)
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
    from drasclr_core.model.embed_scan import ScanReader
    from drasclr_core.model.folder import load_model_to

    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device is {device!r}: give auto, cpu or cuda.")
    if output is not None:
        check_output(output, suffixes)
    return ScanReader.of(load_model_to(model, device, features=features), lung_weights)
