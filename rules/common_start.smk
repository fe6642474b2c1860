"""Helpers of the workflow's start - its temporary files, its results for itself. Functions only here."""

import sys
import tempfile

from snakemake.logging import logger as snakemake_logger
from snakemake.shell import shell

from drasclr_core.machine import name_user
from drasclr_core.plan import make_plan
from drasclr_core.terminal import Terminal
from drasclr_core.workflow_folders import (
    clear_temporary,
    hold_results,
    register_temporary,
)
from drasclr_core.workflow_progress import WorkflowProgress, usual_seconds

TEMPORARY = Path(".snakemake/temporary")
"""Where every running Snakemake notes its temporary folders."""


def keep_temporary_files_together():
    """Let local jobs use Snakemake's own temporary folder, which it removes. A cluster's job asks its node for one."""
    tempfile.tempdir = str(workflow.snakemake_tmp_dir)
    workflow.temporary = register_temporary(TEMPORARY, own_temporary())
    let_jobs_hold(workflow.temporary)


def speak_briefly():
    """Tell of progress and failures on the terminal, in place of each job; Snakemake's log file keeps all.

    Whoever asks Snakemake for more or for less (--printshellcmds, --verbose, --quiet, -n) is told what it tells.
    """
    asked = workflow.output_settings
    if workflow.dryrun or asked.printshellcmds or asked.verbose or asked.quiet:
        return
    own = [
        each
        for each in snakemake_logger.handlers
        if each.name == "DefaultStreamHandler"
    ]
    if own:
        sizes = {cohort: len(rows(cohort)) for cohort in COHORTS}
        progress = WorkflowProgress(usual_seconds(make_plan(config, sizes), config))
        snakemake_logger.addHandler(Terminal(own[0].stream, progress))
        snakemake_logger.removeHandler(own[0])


def own_temporary():
    return [workflow.snakemake_tmp_dir, workflow.sourcecache.runtime_cache_path]


def remove_what_was_left():
    """Remove the temporary files of Snakemakes that were killed; a dry run does not come here."""
    clear_temporary(TEMPORARY, own_temporary(), scripts=Path(".snakemake/scripts"))


def keep_others_out():
    """Refuse to start where another workflow writes to the same results; hold them until this one and its jobs end."""
    workflow.results_lock = checked(hold_results, Path("results"))
    let_jobs_hold(workflow.results_lock)


def let_jobs_hold(lock):
    """Let every local job inherit a locked file: they live on where Snakemake alone is killed, and so does the lock."""
    started_with = shell._process_args  # what Snakemake gives to Popen for each of them
    inherited = started_with.get("pass_fds", ())
    started_with["pass_fds"] = (*inherited, lock.fileno())


def schedule_when_jobs_end():
    """Let Snakemake choose jobs when one has ended, not again and again while others run.

    Its limit of jobs a second wakes it a second after every choice, and every job that ends begins one more such chain
    (its pull request 3744): after 300 jobs they take a third of a core. Nothing on this computer needs the limit.
    """
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None
