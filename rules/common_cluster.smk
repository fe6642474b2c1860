"""Helpers of what runs on a cluster - groups of jobs, and what Snakemake does not see to there. Functions only here."""

import os
import shutil
import tempfile

from snakemake.settings.types import ExecutionSettings


def lends_atlas(wildcards):
    lender = {"cohort": wildcards.cohort, "participant": wildcards.id}
    return any(lender.items() <= atlas.items() for atlas in config["atlases"].values())


def in_group(name):
    """Return a function for `group`, whose jobs share one on a cluster: with --group-components, and in that job."""

    def group(wildcards):
        grouping = workflow.remote_exec or workflow.group_settings.group_components
        return name if grouping else None

    return group


def upstream_group(wildcards):
    """Return the group of a subject's stages before its registration.

    Not the one of those after it where an atlas is made from the subject: they wait for that atlas.
    """
    return in_group("lender" if lends_atlas(wildcards) else "subject")(wildcards)


def live_with_allocation():
    """Let a cluster's job use the CPUs and the scratch space of its own, and not end at one subject's failure.

    Snakemake passes none of it on to a group's job, and would use every CPU of a node that does not keep it from that.
    """
    # Snakemake has no option for it (its issue 2508), and no job reads a profile. Its settings replace those of the
    # workflow after the Snakefile was read, so it is their class that says it.
    ExecutionSettings.keep_going = property(lambda _: True, lambda *_: None)
    if cpus := os.environ.get("SLURM_CPUS_PER_TASK"):
        workflow.register_resource("_cores", int(cpus))
    if scratch := os.environ.get("SLURM_TMPDIR"):
        os.environ.update(TMPDIR=scratch)
        tempfile.tempdir = scratch


def remove_outdated_outputs():
    """Remove the outputs of all jobs to come, if those of jobs that fail are to be kept.

    Snakemake would else take an old output of a job that failed before it began for a new one. A dry run does not come
    here; --touch does, and says that the old outputs are to stay.
    """
    if workflow.execution_settings.keep_incomplete and not workflow.touch:
        for output in (
            path for job in workflow.dag.needrun_jobs() for path in job.output
        ):
            if os.path.isdir(output):
                shutil.rmtree(output)
            else:
                Path(output).unlink(missing_ok=True)
