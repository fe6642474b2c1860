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
