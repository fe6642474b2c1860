"""The only glue between Snakemake and the library: a job's fields, its log, and its replay from the command line."""

import json
import logging
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

# Environments made for the rules hold the dependencies alone; the library comes from the checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from drasclr_core.base.machine import share_machine

share_machine()

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"
SECTIONS = ("input", "output", "params", "wildcards", "resources")


def run(main, snakemake=None):
    """Call main(job) for Snakemake's job, or for the command line's JSON, such as a job's log begins with, merged."""
    fields = _fields_of(snakemake) if snakemake else {k: v for arg in sys.argv[1:] for k, v in json.loads(arg).items()}
    log = {"filename": snakemake.log[0], "filemode": "w"} if snakemake else {}
    logging.basicConfig(level="INFO", format="%(asctime)s %(message)s", **log)
    logging.captureWarnings(True)
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(fields.get("threads", 1))  # ITK would take every core
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # by default nothing would be cleaned up
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the shell of a training has it ignored
    logging.info("%s", json.dumps(fields))
    try:
        main(make_job(fields))
    except Exception as error:
        logging.exception("failed")
        if type(error).__name__ not in ("InputError", "QualityError", "DamagedError"):
            raise
        raise SystemExit(str(error)) from None  # the user's to mend: no traceback on the terminal


def make_job(fields):
    """Return a job whose input, output, params, wildcards and resources are attributes."""
    spaces = {section: SimpleNamespace(**fields.get(section, {})) for section in SECTIONS}
    return SimpleNamespace(**spaces, threads=fields.get("threads", 1))


def _fields_of(snakemake):
    fields = {section: dict(getattr(snakemake, section).items()) for section in SECTIONS}
    return json.loads(json.dumps({**fields, "threads": snakemake.threads}, default=list))
