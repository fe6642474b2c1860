"""The only glue between Snakemake and the library: a job's fields, its log, and its replay from the command line."""

import json
import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace

# Environments made for the rules hold the dependencies alone; the library comes from the checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

logger = logging.getLogger(__name__)


def run(main, snakemake=None):
    """Call main(job) for Snakemake's job, or for the JSON on the command line.

    The first line of a job's log is its JSON: ``python workflow_scripts/NAME.py '<json>'`` runs it again.
    Several JSON arguments are merged.
    """
    fields = _fields_of(snakemake) if snakemake else _merged(sys.argv[1:])
    log_file = snakemake.log[0] if snakemake and snakemake.log else None
    logging.basicConfig(
        filename=log_file, filemode="w" if log_file else "a", level="INFO", format="%(asctime)s %(message)s"
    )
    logging.captureWarnings(True)
    # ITK would take every core of the machine for each job.
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(fields.get("threads", 1))
    logger.info("%s", json.dumps(fields))
    try:
        main(make_job(fields))
    except Exception as error:
        logger.exception("failed")
        if type(error).__name__ in ("InputError", "QualityError"):
            sys.exit(f"{type(error).__name__}: {error}")  # the user's to mend: no traceback on the terminal
        raise


def make_job(fields):
    """Return a job with input, output, params, wildcards and resources as attributes of their names."""
    sections = ("input", "output", "params", "wildcards", "resources")
    spaces = {section: SimpleNamespace(**fields.get(section, {})) for section in sections}
    return SimpleNamespace(**spaces, threads=fields.get("threads", 1))


def _fields_of(snakemake):
    sections = ("input", "output", "params", "wildcards")
    fields = {section: _plain(dict(getattr(snakemake, section).items())) for section in sections}
    return {**fields, "resources": {"mem_mb": snakemake.resources.get("mem_mb")}, "threads": snakemake.threads}


def _plain(values):
    """Return Snakemake's own lists as plain ones."""
    return {key: [str(v) for v in value] if _is_paths(value) else value for key, value in values.items()}


def _is_paths(value):
    return type(value).__name__ in ("Namedlist", "InputFiles", "OutputFiles")


def _merged(arguments):
    fields = {}
    for argument in arguments:
        fields |= json.loads(argument)
    return fields
