"""The profiles: what they ask of a cluster, and how many jobs that makes of a cohort."""

import os
import re
import subprocess

import pytest
import yaml
from workflow_run import FULL, ROOT, changed, snakemake, snakemake_command, succeeded, tiny_config

SLURM = ROOT / "profiles" / "slurm"
PROFILE = yaml.safe_load((SLURM / "config.yaml").read_text(encoding="utf-8"))
SNAKEFILE = (ROOT / "Snakefile").read_text(encoding="utf-8")
RULES = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("rules/*.smk"))
LOCAL_RULES = set(re.findall(r"    (\w+),", re.search(r"^localrules:\n((?:    \w+,\n)+)", SNAKEFILE, re.M)[1]))
TARGETS = set(re.findall(r"^rule (\w+):", SNAKEFILE, re.M))
SUBJECTS_PER_JOB = int(re.search(r"subject=(\d+)", " ".join(PROFILE["group-components"]))[1])


def cluster_jobs(folder, subjects, *targets):
    """Return how many jobs Slurm would get: group -> jobs, and those of no group under their rule's name."""
    config = changed(FULL, {"cohorts.phantom.phantom.subjects": subjects})
    plan = succeeded(snakemake(folder, config, "--dry-run", *targets, "--profile", str(SLURM)))
    names = re.findall(r"^\[.*\] Group job (\w+) |^rule (\w+):", plan, re.M)
    jobs = [group or rule for group, rule in names if rule not in LOCAL_RULES | TARGETS]
    return {name: jobs.count(name) for name in jobs}


@pytest.mark.workflow
def test_ten_thousand_subjects_are_less_than_600_jobs(tmp_path):
    few, more = (cluster_jobs(tmp_path, times * SUBJECTS_PER_JOB, "results/table2.csv") for times in (2, 3))
    assert more == {**few, "subject": few["subject"] + 1}  # nothing else grows with the cohort
    assert few["subject"] == 2
    assert sum(few.values()) + 10_000 / SUBJECTS_PER_JOB - 2 < 600


@pytest.mark.workflow
def test_a_job_of_subjects_asks_for_one_cpu_and_for_the_minutes_of_all_of_them(tmp_path):
    """What is submitted, to a cluster that refuses everything."""
    (tmp_path / "bin").mkdir()
    for name in ("sbatch", "squeue", "sacct", "scontrol", "scancel", "sinfo"):
        command = tmp_path / "bin" / name
        command.write_text('#!/bin/sh\necho "$*" >> asked; exit 1\n', encoding="utf-8")
        command.chmod(0o755)
    atlas = {"healthy": {"mask": "atlas.nii.gz"}}
    config = changed(FULL, {"cohorts.phantom.phantom.subjects": SUBJECTS_PER_JOB + 2, "atlases": atlas})
    config["runs"] = {"laa950": config["runs"]["laa950"]}
    for path in ("atlas.nii.gz", "results/atlases/healthy/lung_mask.nii.gz", "results/atlases/healthy/landmarks.json"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    quick = ["--slurm-init-seconds-before-status-checks", "1"]
    command = snakemake_command(tmp_path, config, "preprocess", "--profile", str(SLURM), *quick)
    environment = {**os.environ, "PATH": f"{tmp_path}/bin{os.pathsep}{os.defpath}"}
    subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=300)

    calls = re.findall(r"^--parsable (.*) --wrap=", (tmp_path / "asked").read_text(encoding="utf-8"), re.M)
    options = r" -p (\S+) -t (\d+) --mem (\d+) --ntasks=1 --cpus-per-task=(\d+) (\S+) "
    asked = {re.search(options, call).groups() for call in calls}
    stages = ("simulate_scan", "ingest_scan", "segment_lungs", "register_lungs", "cut_patches")
    minutes = sum(PROFILE["set-resources"][stage]["runtime"] for stage in stages)
    assert asked == {("cpu", str(n * minutes), "3000", "1", "--no-requeue") for n in (2, SUBJECTS_PER_JOB)}


def asked_by_rule(folder, attempt):
    """Return rule -> name -> what its jobs ask for at an attempt, of all rules that lead to features."""
    options = ["--dry-run", "embed", "--profile", str(SLURM), "--attempt", str(attempt)]
    plan = succeeded(snakemake(folder, tiny_config(), *options))
    blocks = re.findall(r"^ *rule (\w+):\n((?: +\w+: .*\n)*?) +resources: (.*)$", plan, re.M)
    numbers = r"\b(mem_mb|runtime|memory_gb)=(\d+)"
    found = {rule: {name: int(value) for name, value in re.findall(numbers, asked)} for rule, _, asked in blocks}
    return {rule: asked for rule, asked in found.items() if rule not in LOCAL_RULES | TARGETS}


@pytest.mark.workflow
def test_every_attempt_asks_for_more_memory_up_to_a_trainings_second(tmp_path):
    first, second, third = (asked_by_rule(tmp_path, attempt) for attempt in (1, 2, 3))
    assert first.keys() >= {"ingest_scan", "build_bank", "pretrain_encoder", "embed_bank", "embed_cohort"}
    assert [rule for rule in first if second[rule]["mem_mb"] <= first[rule]["mem_mb"]] == []
    # A training with a time limit has many attempts, of which none is a fault.
    assert [rule for rule in first if third[rule]["mem_mb"] <= second[rule]["mem_mb"]] == ["pretrain_encoder"]
    for asked in (first, second):  # the patches take no more for it, and leave room for the rest of the job
        assert asked["build_bank"]["memory_gb"] == 2
        assert asked["build_bank"]["mem_mb"] >= 3000
    # A job of subjects does only what is missing when it is started again; others begin anew.
    longer = {rule for rule in first if second[rule].get("runtime", 0) > first[rule].get("runtime", 0)}
    assert longer == {"build_bank", "embed_bank", "embed_cohort"}


def test_every_rule_with_resources_of_its_own_exists():
    rules = set(re.findall(r"^rule (\w+):", RULES, re.M))
    assert PROFILE["set-resources"].keys() - rules == set()
    assert LOCAL_RULES - rules == set()


def test_every_group_has_a_size():
    groups = set(re.findall(r'^        in_group\("(\w+)"\)', RULES, re.M))
    assert groups == {size.split("=")[0] for size in PROFILE["group-components"]}


def test_the_profile_is_found_in_a_checkout():
    assert (ROOT / "slurm").is_symlink()
    assert (ROOT / "slurm").samefile(SLURM)
