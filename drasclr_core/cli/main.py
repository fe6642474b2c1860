"""The command `drasclr`: for people with a scan and a checkpoint; the pipeline's own command is `snakemake`."""

import io
import json
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from drasclr_core.base.errors import InputError, is_path_fault
from drasclr_core.base.machine import share_machine
from drasclr_core.base.version import __version__
from drasclr_core.cli import cohort as cli_cohort
from drasclr_core.cli import model as cli_model
from drasclr_core.cli import scan as cli_scan

EXIT_INPUT_ERROR = 2
_ENDINGS = (signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))  # Windows has no SIGHUP


class _Commands(TyperGroup):
    """Commands that report the user's errors as one message, without a traceback."""

    def invoke(self, ctx: Any) -> Any:  # Typer keeps the type of ctx private
        try:
            with _ended_in_order():
                return super().invoke(ctx)
        except InputError as error:
            raise _refused(str(error)) from error
        except OSError as error:
            if error.filename is None or not is_path_fault(error):
                raise
            raise _refused(f"{error.filename}: {error.strerror}: check the path and its permissions.") from error


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let SIGTERM and the end of the terminal end the block as an error would, so that nothing unfinished stays.

    A signal that is ignored, as under nohup, stays so.
    """
    heeded = [number for number in _ENDINGS if signal.getsignal(number) is not signal.SIG_IGN]

    def end(number: int, _: object) -> None:
        for other in heeded:
            signal.signal(other, signal.SIG_IGN)  # shells send SIGHUP twice: the second would cut the tidying short
        sys.exit(128 + number)

    before = {number: signal.signal(number, end) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _refused(told: str) -> typer.Exit:
    typer.echo(f"Error: {told}", err=True)
    return typer.Exit(EXIT_INPUT_ERROR)


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False)
app.add_typer(cli_cohort.app, name="cohort", help="Make the participants table of a cohort.")
for command in (cli_scan.embed, cli_scan.detect, cli_scan.qc):
    app.command()(command)
for about_models in (cli_model.import_released, cli_model.fetch_weights, cli_model.unfinished):
    app.command()(about_models)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Anatomy-aware features from lung CT (DrasCLR).

    Exit status:

    \b
    * 0: done
    * 1: something broke; what could be made of the other scans is written, unless the writing broke
    * 2: the call, or an input other than a scan, cannot be used; nothing was written
    * 3: at least one scan was refused; the results of the others are written
    * 129, 130, 143: told to stop (SIGHUP, Ctrl-C, SIGTERM); nothing was written
    """  # noqa: D301 - Typer keeps the lines of a paragraph that begins with this character
    share_machine()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the name of a file may not be UTF-8
    logging.basicConfig(format="%(message)s")
    logging.getLogger("drasclr_core").setLevel(logging.INFO)
    logging.getLogger("drasclr_core.model.dense").setLevel(
        logging.WARNING
    )  # else twenty lines for each of ten detectors


@app.command()
def version() -> None:
    """Print the version, as --version does."""
    typer.echo(__version__)


@app.command()
def plan(
    config: Annotated[Path, typer.Argument(help="Complete configuration, as Snakemake's --configfile.")],
    subjects: Annotated[
        int | None, typer.Option(min=1, help="Of each cohort.", show_default="as its table says")
    ] = None,
    landmarks: Annotated[int | None, typer.Option(min=1, help="Of each atlas.", show_default="by the step")] = None,
    cores: Annotated[int, typer.Option(min=1, help="Cores that run at a time.")] = 100,
    gpus: Annotated[
        int | None, typer.Option(min=1, help="GPUs that run at a time.", show_default="pretrain.processes")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimate jobs, hours, memory and disk of a configuration, from its scans to the features."""
    from drasclr_core.base.documents import read_yaml
    from drasclr_core.config.checks import check_config
    from drasclr_core.config.recipes import with_recipe
    from drasclr_core.workflow.plan import cohort_sizes, make_plan
    from drasclr_core.workflow.plan_table import plan_text
    from drasclr_core.workflow.study import absent_images, check_study, cohort_rows
    from drasclr_core.workflow.unfinished import unfinished_trainings

    content = read_yaml(config)
    if subjects is None:
        content = check_study(content, cache(partial(cohort_rows, content)))
        sizes = cohort_sizes(content)
        for cohort in sizes:
            if absent := absent_images(content, cohort):
                told = f"{len(absent)} of {sizes[cohort]} images are not there, such as {absent[0]}"
                typer.echo(f"Warning: {cohort}: {told}: correct the paths, or these scans are left out.", err=True)
    else:  # of a cohort whose table need not be there yet
        check_config(content)
        sizes = cohort_sizes(content, subjects)
        content = with_recipe(content, sizes)
        check_config(content)
    made = make_plan(content, sizes, landmarks=landmarks, cores=cores, gpus=gpus)
    typer.echo(json.dumps(made.as_json(), indent=2) if as_json else plan_text(made))
    for training in unfinished_trainings():
        typer.echo(f"Unfinished, see `drasclr unfinished --help`: {training}", err=True)
