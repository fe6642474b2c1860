"""The profiles: what they ask of a cluster, and how many jobs that makes of a cohort."""

import re

import pytest
import yaml
from workflow_run import FULL, ROOT, changed, snakemake, succeeded

PROFILE = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8"))
SNAKEFILE = (ROOT / "Snakefile").read_text(encoding="utf-8")
RULES = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("rules/*.smk"))
LOCAL_RULES = set(re.findall(r"    (\w+),", re.search(r"^localrules:\n((?:    \w+,\n)+)", SNAKEFILE, re.M)[1]))
TARGETS = set(re.findall(r"^rule (\w+):", SNAKEFILE, re.M))


def cluster_jobs(folder, subjects, *targets):
    """Return how many jobs Slurm would get: group -> jobs, and those of no group under their rule's name."""
    config = changed(FULL, {"cohorts.phantom.phantom.subjects": subjects})
    profile = ["--profile", str(ROOT / "profiles/slurm")]
    plan = succeeded(snakemake(folder, config, "--dry-run", *targets, *profile))
    names = re.findall(r"^\[.*\] Group job (\w+) |^rule (\w+):", plan, re.M)
    jobs = [group or rule for group, rule in names if rule not in LOCAL_RULES | TARGETS]
    return {name: jobs.count(name) for name in jobs}


@pytest.mark.workflow
def test_ten_thousand_subjects_are_less_than_600_jobs(tmp_path):
    per_job = int(re.search(r"subject=(\d+)", " ".join(PROFILE["group-components"]))[1])
    few, more = (cluster_jobs(tmp_path, times * per_job, "results/table2.csv") for times in (2, 3))
    assert more == {**few, "subject": few["subject"] + 1}  # nothing else grows with the cohort
    assert few["subject"] == 2
    assert sum(few.values()) + (10_000 - 2 * per_job) / per_job < 600


def test_every_rule_with_resources_of_its_own_exists():
    rules = set(re.findall(r"^rule (\w+):", RULES, re.M))
    assert PROFILE["set-resources"].keys() - rules == set()
    assert LOCAL_RULES - rules == set()


def test_every_group_has_a_size():
    groups = set(re.findall(r'^    group:\n        "(\w+)"', RULES, re.M))
    assert groups == {size.split("=")[0] for size in PROFILE["group-components"]}
