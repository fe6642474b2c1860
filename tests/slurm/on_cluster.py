"""Snakemake started on the tests' cluster, with the profile that we ship but for waiting times fit for tests."""

import subprocess
import sys
import time
from contextlib import contextmanager

import yaml
from workflow_run import ROOT, changed, tiny_config

PROFILE = ROOT / "profiles" / "slurm" / "config.yaml"
QUICK = {"slurm-init-seconds-before-status-checks": 2, "latency-wait": 5, "group-components": ["subject=2"]}
ALIGNED = "results/phantom/healthy"


def small_config():
    """Return the tiny configuration with four phantoms, one atlas and one encoder."""
    tiny = tiny_config()
    return changed(
        tiny,
        {
            "cohorts.phantom.phantom.subjects": 4,
            "atlases": {"healthy": tiny["atlases"]["healthy"]},
            "runs": {"drasclr": tiny["runs"]["drasclr"]},
        },
    )


@contextmanager
def snakemake_on(cluster, folder, config, *targets, profile=None, variables=None):
    """Start Snakemake in a folder; yield its process. It is killed at the end if it still runs.

    Parameters
    ----------
    cluster : Cluster
    folder : Path
        Where it runs; its output goes to snakemake.log there.
    config : dict
        Becomes the configuration file.
    targets : str
        And further arguments.
    profile : dict, optional
        Dotted key -> value: settings in place of those of the profile that we ship.
    variables : dict, optional
        Environment variables to add.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "given.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    settings = changed(yaml.safe_load(PROFILE.read_text(encoding="utf-8")), {**QUICK, **(profile or {})})
    (folder / "profile").mkdir(exist_ok=True)
    (folder / "profile" / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", *targets, "--snakefile", str(ROOT / "Snakefile")]
    command += ["--profile", "profile", "--configfile", "given.yaml"]
    with (folder / "snakemake.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**cluster.environment, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def run_on(cluster, folder, config, *targets, fails=False, **settings):
    """Run Snakemake to its end, and return its output; its status must be as told."""
    with snakemake_on(cluster, folder, config, *targets, **settings) as process:
        return ended(process, folder, fails=fails)


def ended(process, folder, fails=False):
    """Wait for Snakemake's end, and return its output; its status must be as told."""
    process.wait(600)
    output = (folder / "snakemake.log").read_text(encoding="utf-8")
    assert (process.returncode != 0) == fails, output[-5000:]
    return output


def wait_for(condition, process=None, seconds=240):
    """Wait until a condition holds; fail if a process ends before, or after some time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        assert process is None or process.poll() is None, "ended too early"
        time.sleep(0.05)


def finished_stages(folder):
    """Return every subject's finished stage with what tells whether it was done again."""
    records = {path: path.stat() for path in folder.glob("results/**/record.json")}
    return {
        path.relative_to(folder).parent.as_posix(): (stat.st_ino, stat.st_mtime_ns) for path, stat in records.items()
    }
