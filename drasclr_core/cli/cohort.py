"""The commands that make participants tables: `drasclr cohort`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)

Table = Annotated[Path, typer.Option("--output", "-o", help="Participants table to write (.tsv).")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the table if it exists.")]


@app.command()
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
    from drasclr_core.cohort.imports.copdgene import import_copdgene
    from drasclr_core.cohort.imports.rules import COPDGENE

    given = {"pheno": pheno, "visual": visual, "mortality": mortality}
    tables = {role: path for role, path in given.items() if path is not None}
    for line in import_copdgene(tables, images, output, rules=rules or COPDGENE, overwrite=overwrite):
        typer.echo(line)


@app.command()
def mosmed(
    folder: Annotated[Path, typer.Argument(help="MosMed's folder, which holds studies/CT-0 to CT-4.")],
    output: Table,
    overwrite: Overwrite = False,
) -> None:
    """Map MosMed's folder to a participants table: the grade is the folder's name."""
    from drasclr_core.cohort.imports.mosmed import import_mosmed

    for line in import_mosmed(folder, output, overwrite=overwrite):
        typer.echo(line)


@app.command()
def from_folder(
    folder: Annotated[Path, typer.Argument(help="Folder with scans, at any depth.")],
    output: Table,
    match: Annotated[str, typer.Option(help="Names of files or DICOM folders to take, such as '*_ct.nii.gz'.")] = "*",
    id_regex: Annotated[
        str | None,
        typer.Option(
            help="Searched in a scan's path below the folder; its first group is the participant id: 'sub-([0-9]+)'.",
            show_default="name without suffix",
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Table (.csv, .tsv) whose columns are joined by its column participant_id.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a participants table of a folder of scans: one participant per file, or per folder of DICOM files."""
    from drasclr_core.cohort.imports.folder import import_folder

    for line in import_folder(folder, output, match=match, id_regex=id_regex, labels=labels, overwrite=overwrite):
        typer.echo(line)
