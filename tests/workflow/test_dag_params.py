"""Snakemake compares the parameters of a job as a set, without their names: no two of a rule may be of one kind."""

import ast
import json
import re

import pytest
from workflow_run import ROOT, changed, planned_jobs, pretend, tiny_config

TARGETS = ("report", "qc", "results/disease_probe.md", "results/known_truth.csv")
EMBEDDED = {"embed_bank", "evaluate_run", "probe_disease", "make_known_truth", "make_table", "make_figure"}
DETECTED = {"detect_linear", "finetune_detectors", "mask_emphysema", "judge_linear_masks"}
DETECTED |= {"perturb_location", "transfer_detectors"}
CONFIG = changed(tiny_config(), {"seed": 3, "runs.drasclr.seeds": [0, 7], "runs.untrained.seeds": [0, 7]})
KINDS = {"text": str, "number": (int, float), "list": (list, tuple)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which every rule has run, to Snakemake's knowledge."""
    folder = tmp_path_factory.mktemp("params")
    pretend(folder, CONFIG, *TARGETS)
    return folder


def records_of(folder):
    return [json.loads(path.read_text()) for path in (folder / ".snakemake/metadata").rglob("*") if path.is_file()]


def kinds(params):
    """Return what tells parameters apart, whatever their values: of a dictionary its keys, of others what they are.

    One that is None may be a text or a number in another job.
    """
    found = []
    for value in params:
        if isinstance(value, dict):
            found.append(frozenset(value))
        elif value is None:
            found += ["text", "number"]
        else:
            found.append(next(kind for kind, types in KINDS.items() if isinstance(value, types)))
    return found


def test_parameters_of_one_kind_are_found():
    assert len(set(kinds([1, "a", [1], {"a": 1}, {"b": 1}]))) == 5
    for params in ([1, 2.5], ["a", "b"], [True, 1], [None, 1], [None, "a"], [None, None], [{"a": 1}, {"a": 2}]):
        assert len(set(kinds(params))) < len(kinds(params))


def test_no_two_parameters_of_a_rule_are_of_one_kind(folder):
    records = records_of(folder)
    params = {(record["rule"], *record["params"]) for record in records if record["params"]}
    mistakable = set()
    for rule, *values in params:
        found = kinds([ast.literal_eval(value) for value in values])
        if len(set(found)) < len(found):
            mistakable.add(rule)
    assert mistakable == set()
    texts = [path.read_text(encoding="utf-8") for path in ROOT.glob("rules/*.smk")]
    rules = [part for text in texts for part in re.split(r"^rule ", text, flags=re.M)[1:]]
    assert {rule for rule, *_ in params} == {
        rule.split(":")[0] for rule in rules if re.search(r"\n    params:\n        (\*\*.*\n        )?\w", rule)
    }


def test_trainings_have_a_seed_of_the_run_and_judgements_that_of_the_configuration(folder):
    params = {
        record["log"][0]: " ".join(map(str, record["params"])) for record in records_of(folder) if record["params"]
    }
    logs = "logs/phantom/healthy"
    for training, seed in {"drasclr": 0, "drasclr/seed-7": 7}.items():
        assert f'"seed": {seed},' in params[f"{logs}/pretrain_encoder/{training}.log"]
        # To fine-tune is to train: the detectors' seed, and that of their evaluation.
        found = re.findall(r"'seed': (\d)", params[f"{logs}/finetune_detectors/{training}.log"])
        assert sorted(found) == sorted([str(seed), "3"])
        assert "3" in params[f"{logs}/evaluate_run/{training}.log"].split()


@pytest.mark.parametrize(
    ("section", "readers", "others"),
    [
        ("embedding", EMBEDDED, DETECTED),
        ("detection", DETECTED, EMBEDDED - {"make_table", "make_figure"}),  # which show detectors, too
    ],
)
def test_other_features_are_read_by_all_that_shall_and_train_no_encoder(folder, section, readers, others):
    config = changed(CONFIG, {f"{section}.features": "last"})
    jobs = {job.split()[0] for job in planned_jobs(folder, config, *TARGETS)}
    assert readers <= jobs
    assert not jobs & {*others, "pretrain_encoder", "build_bank", "cut_boxes", "embed_cohort"}


@pytest.mark.parametrize("key", ["stride", "block"])
def test_another_stride_or_block_masks_again(folder, key):
    config = changed(CONFIG, {f"dense.{key}": 2})  # the number of the rule's version
    jobs = {job.split()[0] for job in planned_jobs(folder, config, "figures")}
    assert {"mask_emphysema", "summarise_masks", "make_figure"} <= jobs
