"""The command `drasclr`: for people with a scan and a checkpoint; the pipeline's own command is `snakemake`."""

import logging
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from drasclr_core import __version__
from drasclr_core.errors import InputError

EXIT_INPUT_ERROR = 2


class _Commands(TyperGroup):
    """Commands that report the user's errors as one message, without a traceback."""

    def invoke(self, ctx: Any) -> Any:  # Typer keeps the type of ctx private
        try:
            return super().invoke(ctx)
        except InputError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(EXIT_INPUT_ERROR) from error


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False)


@app.callback()
def main() -> None:
    """Anatomy-aware features from lung CT (DrasCLR)."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@app.command()
def fetch_weights(
    target: Annotated[
        Path | None, typer.Option(help="File to write.", show_default="$XDG_CACHE_HOME/drasclr/lungmask-r231.pth")
    ] = None,
) -> None:
    """Download the lungmask weights (R231) once, check their sha256, and print where they are."""
    from drasclr_core.lung_weights import fetch_weights as fetch

    typer.echo(fetch(target or cache_folder() / "lungmask-r231.pth"))


def cache_folder() -> Path:
    """Return the user's folder for downloads: ``$XDG_CACHE_HOME/drasclr``, or ``~/.cache/drasclr``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "drasclr"
