"""Helpers of the workflow's start - its temporary files, its results for itself, its terminal. Functions only here."""

import shutil
import tempfile

from drasclr_core.base.machine import name_user
from drasclr_core.workflow.plan import make_plan
from drasclr_core.workflow.terminal import Terminal
from drasclr_core.workflow.folders import (
    clear_temporary,
    hold_results,
    register_temporary,
)
from drasclr_core.workflow.progress import WorkflowProgress, usual_seconds

TEMPORARY = Path(".snakemake/temporary")
"""Where every running Snakemake notes its temporary folders."""


def keep_temporary_files_together():
    """Let local jobs use Snakemake's own temporary folder, which it removes. A cluster's job asks its node for one."""
    if folders := own_temporary():
        tempfile.tempdir = str(folders[0])
        workflow.temporary = register_temporary(TEMPORARY, folders)
        let_jobs_hold(workflow.temporary)


def speak_briefly():
    """Tell of progress and failures on the terminal, in place of each job; Snakemake's log file keeps all."""

    def terminal(stream):
        sizes = {cohort: len(rows(cohort)) for cohort in COHORTS}
        seconds = usual_seconds(make_plan(config, sizes), config)
        return Terminal(stream, WorkflowProgress(seconds))

    take_terminal(terminal)


def remove_what_was_left():
    """Remove the temporary files of Snakemakes that were killed; a dry run does not come here."""
    if folders := own_temporary():
        clear_temporary(TEMPORARY, folders, scripts=Path(".snakemake/scripts"))


def keep_others_out():
    """Refuse to start where another workflow writes to the same results; hold them until this one and its jobs end."""
    workflow.results_lock = checked(hold_results, Path("results"))
    let_jobs_hold(workflow.results_lock)


def remove_outdated_outputs():
    """Remove the outputs of all jobs to come where a failed job's would be kept; a dry run does not come here."""
    for output in map(Path, outdated_outputs()):
        if output.is_dir():
            shutil.rmtree(output)
        else:
            output.unlink(missing_ok=True)
