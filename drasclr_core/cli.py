"""The command `drasclr`: for people with a scan and a checkpoint; the pipeline's own command is `snakemake`."""

import json
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
cohort = typer.Typer(no_args_is_help=True)
app.add_typer(cohort, name="cohort", help="Make the participants table of a published cohort.")

Table = Annotated[Path, typer.Option("--output", "-o", help="Participants table to write (.tsv).")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the table if it exists.")]


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


@app.command()
def plan(
    config: Annotated[Path, typer.Argument(help="Complete configuration, as Snakemake's --configfile.")],
    subjects: Annotated[int | None, typer.Option(help="Of each cohort.", show_default="as its table says")] = None,
    landmarks: Annotated[int | None, typer.Option(help="Of each atlas.", show_default="by the step")] = None,
    cores: Annotated[int, typer.Option(min=1, help="Cores that run at a time.")] = 100,
    gpus: Annotated[
        int | None, typer.Option(min=1, help="GPUs that run at a time.", show_default="pretrain.processes")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimate jobs, hours, memory and disk of a configuration, from its scans to the features."""
    from drasclr_core.config import check_config
    from drasclr_core.documents import read_yaml
    from drasclr_core.plan import cohort_sizes, make_plan
    from drasclr_core.plan_table import plan_text

    content = read_yaml(config)
    check_config(content)
    made = make_plan(content, cohort_sizes(content, subjects), landmarks=landmarks, cores=cores, gpus=gpus)
    typer.echo(json.dumps(made.as_json(), indent=2) if as_json else plan_text(made))


@cohort.command()
def copdgene(
    pheno: Annotated[Path, typer.Option(help="Phenotypes (tab- or comma-separated, UTF-8).")],
    images: Annotated[Path, typer.Option(help="Folder with the scans, at any depth.")],
    output: Table,
    visual: Annotated[Path | None, typer.Option(help="Visual scores of emphysema.")] = None,
    mortality: Annotated[Path | None, typer.Option(help="Vital status and days of follow-up.")] = None,
    rules: Annotated[
        Path | None,
        typer.Option(help="Names and codes of another release.", show_default="copdgene.yaml of the package"),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Map COPDGene's tables and scans to a participants table; say what was found and what is lacking."""
    from drasclr_core.cohort_copdgene import import_copdgene
    from drasclr_core.cohort_rules import COPDGENE

    given = {"pheno": pheno, "visual": visual, "mortality": mortality}
    tables = {role: path for role, path in given.items() if path is not None}
    for line in import_copdgene(tables, images, output, rules=rules or COPDGENE, overwrite=overwrite):
        typer.echo(line)


@cohort.command()
def mosmed(
    folder: Annotated[Path, typer.Argument(help="MosMed's folder, which holds studies/CT-0 to CT-4.")],
    output: Table,
    overwrite: Overwrite = False,
) -> None:
    """Map MosMed's folder to a participants table: the grade is the folder's name."""
    from drasclr_core.cohort_mosmed import import_mosmed

    for line in import_mosmed(folder, output, overwrite=overwrite):
        typer.echo(line)


def cache_folder() -> Path:
    """Return the user's folder for downloads: ``$XDG_CACHE_HOME/drasclr``, or ``~/.cache/drasclr``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "drasclr"
