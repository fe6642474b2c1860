"""Helpers of the workflow's start - its temporary files, its results for itself. Functions only here."""

import tempfile

from drasclr_core.workflow_folders import hold_results, register_temporary


def keep_temporary_files_together():
    """Let local jobs use Snakemake's own temporary folder, which it removes; remove those of Snakemakes that were killed.

    A job of a cluster asks its node for the folder.
    """
    tempfile.tempdir = str(workflow.snakemake_tmp_dir)
    runtime_cache = workflow.sourcecache.runtime_cache_path
    workflow.temporary = register_temporary(
        Path(".snakemake/temporary"),
        [tempfile.tempdir, runtime_cache],
        scripts=Path(".snakemake/scripts"),
    )


def keep_others_out():
    """Refuse to start where another workflow writes to the same results; hold them until this one ends."""
    workflow.results_lock = checked(hold_results, Path("results"))


def schedule_when_jobs_end():
    """Let Snakemake choose jobs when one has ended, not again and again while others run.

    Its limit of jobs a second wakes it a second after every choice, and every job that ends begins one more such chain
    (its pull request 3744): after 300 jobs they take a third of a core. Nothing on this computer needs the limit.
    """
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None
