"""The commands about weights and the trainings that make them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from drasclr_core.base.paths import cache_folder


def fetch_weights(
    target: Annotated[
        Path | None, typer.Option(help="File to write.", show_default="$XDG_CACHE_HOME/drasclr/lungmask-r231.pth")
    ] = None,
) -> None:
    """Download the lungmask weights (R231) once, check their sha256, and print where they are."""
    from drasclr_core.scan.lung_weights import fetch_weights as fetch

    typer.echo(fetch(target or cache_folder() / "lungmask-r231.pth"))


def import_released(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint as the released train.py writes it.")],
    atlas: Annotated[Path, typer.Option(help="The published atlas lung mask.")],
    landmarks: Annotated[Path, typer.Option(help="The published landmarks (.npy): patch corners.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model folder to write.")],
    segmentation: Annotated[
        Literal["lungmask", "threshold"], typer.Option(help="How the lungs of scans are to be found.")
    ] = "lungmask",
) -> None:
    """Make a model folder of the published weights, by the released conventions."""
    from drasclr_core.model.released_model import import_released as make

    grid = make(checkpoint, atlas, landmarks, output, segmentation=segmentation)
    typer.echo(f"{output}: {len(grid)} landmarks, voxels of {grid.spacing_mm:g} mm, lungs by {segmentation}")


def unfinished(
    folders: Annotated[list[Path] | None, typer.Argument(help="Of these alone.", show_default="all")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove them; without FOLDERS those superseded.")] = False,
) -> None:
    """List the unfinished trainings in work/ of this project: which run, go on when started again, are superseded."""
    from drasclr_core.workflow.unfinished import SUPERSEDED, chosen_trainings, remove_unfinished, unfinished_trainings

    found = unfinished_trainings()
    if remove:
        for each in remove_unfinished(folders or [each.folder for each in found if each.state == SUPERSEDED]):
            typer.echo(f"removed {each}")
        return
    for each in chosen_trainings(folders) if folders else found:
        typer.echo(each)
    if not found:
        typer.echo("No training is unfinished here.", err=True)
