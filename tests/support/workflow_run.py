"""Snakemake called on configurations small enough for a test."""

import copy
import os
import re
import subprocess
import sys
from functools import reduce
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
FULL = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
ABLATIONS = {"local", "one-neighbour", "two-neighbours", "three-neighbours", "unhealthy-atlas"}
ABLATIONS |= {f"local-{conditioning}" for conditioning in ("none", "concatenation", "hypernetwork")}
DEFAULT = {**FULL, "runs": {name: run for name, run in FULL["runs"].items() if name not in ABLATIONS}}
"""The default configuration without the ablations, each of which is a training more."""

SMALL_TRAINING = {
    "epochs": 2,
    "batch_size": 4,
    "groups": 2,
    "queue_size": 16,
    "feature_dim": 8,
    "num_experts": 2,
    "cpu_threads": 1,
    "device": "cpu",
    "log_steps": 1,
    "probe_steps": 5,
}


def changed(config, changes):
    """Return a copy of a configuration with other values: dotted key -> value; None removes the key."""
    config = copy.deepcopy(config)
    for key, value in changes.items():
        *sections, last = key.split(".")
        section = reduce(lambda content, name: content.setdefault(name, {}), sections, config)
        section[last] = value
        if value is None:
            del section[last]
    return config


def tiny_config(base=DEFAULT):
    """Return a configuration on few coarse phantoms with a small encoder: every step, in seconds."""
    config = changed(
        base,
        {
            "cohorts.phantom.phantom": {"subjects": 6, "spacing_mm": [4.0, 4.0, 5.0]},
            "cohorts.unseen.phantom": {"subjects": 4, "first": 201, "spacing_mm": [4.0, 4.0, 5.0]},
            "preprocess.spacing_mm": 5.0,
            "registration.spacing_mm": 8.0,
            "landmarks.step": 20,
            "runs.patch-moco.params.queue_size": 16,
            "runs.kmeans.params.words": 8,
            "detection.steps": 2,
            "detection.batch_size": 4,
            "detection.fractions": [0.5],
            "dense.subjects": 2,
            "evaluation": {"folds": 2, "readout": "plain"},
        },
    )
    return {**config, "pretrain": {**config["pretrain"], **SMALL_TRAINING}}


def snakemake_command(folder, config, *arguments):
    """Return the command that runs Snakemake in a folder, of which the configuration becomes a file."""
    folder.mkdir(parents=True, exist_ok=True)
    given = folder / "given.yaml"
    given.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder]
    return [*map(str, command), "--configfile", str(given), "--cores", "2", *arguments]


def snakemake(folder, config, *arguments):
    """Run Snakemake in a folder; return the finished process."""
    command = snakemake_command(folder, config, *arguments)
    environment = {**os.environ, "PATH": os.defpath}  # no activated virtual environment is needed
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=900, check=False
    )


def succeeded(process):
    """Return a process's output if it ended well; else fail with the end of it."""
    output = process.stdout + process.stderr
    assert process.returncode == 0, output[-3000:]
    return output


def planned_jobs(folder, config, *targets):
    """Return what Snakemake would run now: rule names with the wildcards that tell jobs of a rule apart."""
    output = succeeded(snakemake(folder, config, "--dry-run", *targets))
    jobs = [_job(block) for block in re.findall(r"^ *(?:local)?rule (\w+):\n((?: +\w+: .*\n)*)", output, re.M)]
    total = re.search(r"^total +(\d+)$", output, re.M)
    assert len(jobs) == (int(total[1]) if total else 0), output  # else the output is not read right
    return set(jobs)


def pretend(folder, config, *targets):
    """Let a workflow have ended in a folder, to Snakemake's knowledge; every result is empty."""
    pretend_by(lambda *arguments: snakemake(folder, config, *arguments), folder, *targets)


def pretend_by(run, folder, *targets):
    """Do so by `run`, which takes Snakemake's arguments and returns the finished process."""
    plan = succeeded(run("--dry-run", *targets))
    for output in {path for line in re.findall(r"^ +output: (.*)$", plan, re.M) for path in line.split(", ")}:
        path = folder / output
        is_file = path.name == "SHA256SUMS" or path.suffix in (".csv", ".tsv", ".md", ".json", ".gz", ".png", ".html")
        (path.parent if is_file else path).mkdir(parents=True, exist_ok=True)
        if is_file:
            path.touch()
    succeeded(run("--touch", "--forceall", *targets))


def _job(rule_and_fields):
    rule, fields = rule_and_fields
    found = re.search(r"^ +wildcards: (.*)$", fields, re.M)
    values = dict(pair.split("=", 1) for pair in found[1].split(", ")) if found else {}
    return " ".join([rule, *(values[name] for name in ("id", "run", "task") if name in values)])
