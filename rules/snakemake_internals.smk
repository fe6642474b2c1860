"""All that reaches into Snakemake's insides; where a version has them no more, the workflow runs without. Functions only here."""

import gc
import os
import sys
import tempfile
from functools import cache

from drasclr_core.base.insides import reach, reach_module, remember

TWO_YAMLS = "configurations are read as YAML 1.1, in which no, 040 and 4:00:00 are other values"
BY_COMMAND = "it is told by the command line"
SLOW = "planning takes longer"
KEPT_OLD = "with --keep-incomplete an old output may be taken for a new one"
STAYS = "temporary files of a killed workflow stay until they are removed by hand"
UNSEEN_JOBS = "jobs that outlive a killed workflow are not noticed at the next start"
LOUD = "the terminal shows fifteen lines a job"
ALL_CPUS = "a group's job ends at its first failure, and takes every CPU that it sees"


def given_files():
    """Return the configurations that the command line or a profile names; None where that is not told."""
    return reach(workflow, "configfiles", TWO_YAMLS)


def no_file_is_given():
    files = given_files()
    return "cohorts" not in config if files is None else not files


def given_config(read):
    """Return the configuration: by `read` of its files and of --config, or as Snakemake read it."""
    files, values = given_files(), reach(workflow, "config_settings.config", TWO_YAMLS)
    return config if files is None or values is None else read(files, values)


def is_main():
    """Return whether this is the Snakemake that was called, not one of its jobs."""
    return reach(workflow, "is_main_process", BY_COMMAND, default="--mode" not in sys.argv)


def is_remote():
    """Return whether this is a job on a cluster."""
    return reach(workflow, "remote_exec", BY_COMMAND, default="--mode" in sys.argv and "remote" in sys.argv)


def uses_conda():
    lost = "trainings use the Python that runs Snakemake, also with --sdm conda"
    methods = reach(workflow, "deployment_settings.deployment_method", lost, default=())
    return any(method.name == "CONDA" for method in methods)


def groups_are_asked_for():
    return bool(reach(workflow, "group_settings.group_components", "a subject's rules are a job each"))


def plan_quickly():
    """Let Snakemake keep what it asks of every job; what that gives is in docs/benchmarks.md."""
    # The graph is millions of objects that stay: to search them for garbage is a tenth of its planning.
    gc.set_threshold(50_000, 20, 100)
    # A script's place is asked for three times a job, and smart_open makes a class for each answer.
    remember("smart_open", "parse_uri", SLOW)
    remember("snakemake.sourcecache", "SourceCache._cache", SLOW)
    # The parameters of an input function do not change from job to job.
    remember("snakemake.rules", "get_function_params", SLOW)
    # Two of these stand in every list of inputs, outputs, parameters, logs and wildcards: let all lists share them.
    if guard := reach_module("snakemake.iocontainers", "AttributeGuard", SLOW):
        guard.__new__ = cache(lambda cls, name: object.__new__(cls))


def own_temporary():
    """Return Snakemake's own temporary folders, which it removes at its end."""
    folders = [reach(workflow, path, STAYS) for path in ("snakemake_tmp_dir", "sourcecache.runtime_cache_path")]
    return [] if None in folders else folders


def let_jobs_hold(lock):
    """Let every local job inherit a locked file: they live on where Snakemake alone is killed, and so does the lock."""
    started_with = reach_module("snakemake.shell", "shell._process_args", UNSEEN_JOBS)
    if started_with is not None:  # what Snakemake gives to Popen for each of them
        started_with["pass_fds"] = (*started_with.get("pass_fds", ()), lock.fileno())


def schedule_when_jobs_end():
    """Let Snakemake choose jobs when one has ended, not again and again while others run.

    Its limit of jobs a second wakes it a second after every choice, and every job that ends begins one more such chain
    (its pull request 3744): after 300 jobs they take a third of a core. Nothing on this computer needs the limit.
    """
    if reach(workflow, "local_exec", SLOW) and reach(workflow, "scheduler.job_rate_limiter", SLOW):
        workflow.scheduler.job_rate_limiter = None


def take_terminal(make_handler):
    """Let a handler of log records, which is made for a stream, take the place of Snakemake's on the terminal.

    Not where the user asks for more or for less than a few lines: -n, --printshellcmds, --verbose, --quiet.
    """
    options = ("dryrun", "printshellcmds", "verbose", "quiet")
    asked = any(reach(workflow, f"output_settings.{name}", LOUD, default=True) for name in options)
    logger = reach_module("snakemake.logging", "logger", LOUD)
    own = [each for each in logger.handlers if each.name == "DefaultStreamHandler"] if logger and not asked else []
    for handler in own:
        logger.addHandler(make_handler(handler.stream))
        logger.removeHandler(handler)


def live_with_allocation():
    """Let a cluster's job use the CPUs and the scratch space of its own, and not end at one subject's failure.

    Snakemake passes none of it on to a group's job, and would use every CPU of a node that does not keep it from that.
    """
    # Snakemake has no option for it (its issue 2508), and no job reads a profile. Its settings replace those of the
    # workflow after the Snakefile was read, so it is their class that says it.
    if settings := reach_module("snakemake.settings.types", "ExecutionSettings", ALL_CPUS):
        settings.keep_going = property(lambda _: True, lambda *_: None)
    cpus, register = os.environ.get("SLURM_CPUS_PER_TASK"), reach(workflow, "register_resource", ALL_CPUS)
    if cpus and register:
        register("_cores", int(cpus))
    if scratch := os.environ.get("SLURM_TMPDIR"):
        os.environ.update(TMPDIR=scratch)
        tempfile.tempdir = scratch


def outdated_outputs():
    """Return the outputs of all jobs to come, if those of jobs that fail are to be kept; none with --touch.

    Snakemake would else take an old output of a job that failed before it began for a new one.
    """
    keeps = reach(workflow, "execution_settings.keep_incomplete", KEPT_OLD)
    touches = reach(workflow, "touch", KEPT_OLD, default=True)
    jobs = reach(workflow, "dag.needrun_jobs", KEPT_OLD, default=list)
    return [path for job in jobs() for path in job.output] if keeps and not touches else []
