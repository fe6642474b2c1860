from contextlib import nullcontext

import pytest
import yaml
from workflow_run import DEFAULT, ROOT, changed

from drasclr_core.base.documents import read_yaml
from drasclr_core.base.errors import InputError
from drasclr_core.cohort.phantom_ids import phantom_ids
from drasclr_core.config.checks import (
    check_config,
    check_participants,
    digest,
    every_training,
    is_pretrained,
    pretrain_settings,
    same_run,
    studied_cohorts,
    training_names,
)
from drasclr_core.config.recipes import RECIPES, SMALL_BELOW, with_recipe
from drasclr_core.config.settings import PretrainSettings

CHOSEN = with_recipe(DEFAULT, {"phantom": 40})


def faults(changes):
    with pytest.raises(InputError) as caught:
        check_config(changed(CHOSEN, changes))
    title, *lines = str(caught.value).splitlines()
    assert title == "The configuration has faults:"
    return [line.strip() for line in lines]


@pytest.mark.parametrize(
    "path", [ROOT / "config.yaml", *sorted(ROOT.glob("config/*.yaml"))], ids=lambda path: path.name
)
def test_the_configurations_that_come_along_are_sound(path):
    check_config(read_yaml(path))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"evaluation": None}, "top level: 'evaluation' is a required property"),
        ({"embedding": None}, "top level: 'embedding' is a required property"),
        ({"embedding.features": "first"}, "embedding.features: 'first' is not one of ['last', 'pooled', 'middle']"),
        ({"registration.min_dice": None}, "registration: 'min_dice' is a required property"),
        ({"landmarks.neighbors": 2}, "landmarks: Additional properties are not allowed ('neighbors' was unexpected)"),
        ({"pretrain.epochs": "many"}, "pretrain.epochs: 'many' is not of type 'integer'"),
        ({"pretrain.epochs": True}, "pretrain.epochs: True is not of type 'integer'"),
        ({"pretrain.batch_size": 32.0}, "pretrain.batch_size: 32.0 is not of type 'integer'"),
        ({"runs.drasclr.params": {"epochs": 2e3}}, "runs.drasclr.params.epochs: 2000.0 is not of type 'integer'"),
        ({"pretrain.epochs": -1}, "pretrain.epochs: -1 is less than the minimum of 0"),
        ({"runs.drasclr.params.recipe": "auto"}, "runs.drasclr.params.recipe: 'auto' is not one of ['paper', 'small']"),
        ({"pretrain.queues": "local"}, "pretrain.queues: 'local' is not one of ['landmark', 'global']"),
        ({"seed": 2**31 - 1}, "seed: 2147483647 is greater than the maximum of 2147483646"),  # ANTs takes one more
        (
            {"atlases.healthy": {"mask": "m.nii.gz", "cohort": "phantom"}},
            "atlases.healthy: 'participant' is a dependency",
        ),
        ({"preprocess.spacing_mm": 0}, "preprocess.spacing_mm: 0 is less than the minimum of 0.3"),
        ({"registration.min_dice": 80}, "registration.min_dice: 80 is greater than the maximum of 1"),
        (
            {"runs.drasclr.method": "mocco"},
            "runs.drasclr.method: 'mocco' is not one of ['drasclr', 'laa950', ",
        ),
        ({"runs.drasclr.params.epoch": 3}, "runs.drasclr.params: Additional properties are not allowed ('epoch' was"),
        ({"storage.keep": ["bank", "bank"]}, "storage.keep: ['bank', 'bank'] has non-unique elements"),
        ({"cohorts.phantom.phantom.spacing_mm": [1, 1]}, "cohorts.phantom.phantom.spacing_mm: [1, 1] is too short"),
        ({"runs.drasclr.seeds": []}, "runs.drasclr.seeds: [] should be non-empty"),
        ({"runs.drasclr.seeds": [1, 0, 1]}, "runs.drasclr.seeds: [1, 0, 1] has non-unique elements"),
        ({"runs.drasclr.seeds": [0, -1]}, "runs.drasclr.seeds.1: -1 is less than the minimum of 0"),
        ({"runs.drasclr.seeds": 3}, "runs.drasclr.seeds: 3 is not of type 'array'"),
        ({"runs.kmeans.seeds": [0, 1]}, "runs.kmeans.seeds: only runs of the method drasclr are trained"),
    ],
)
def test_a_fault_is_told_by_its_dotted_key(changes, fault):
    (told,) = faults(changes)
    assert told.startswith(fault)


def test_names_that_become_folders_are_checked():
    told = faults({"runs": {"../x": {"method": "laa950", "atlas": "healthy"}}})
    assert any("'../x' does not match" in fault for fault in told)


def test_all_faults_are_told_at_once():
    told = faults(
        {"seed": -1, "evaluation.folds": 1, "bank.memory_gb": 0, "registration.min_dice": None, "storage": None}
    )
    keys = {fault.split(": ")[0] for fault in told}
    assert keys == {"seed", "evaluation.folds", "bank.memory_gb", "registration", "top level"}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"roles.copd": "copdgene"}, "roles.copd: 'copdgene' is not one of cohorts (phantom, unseen)"),
        ({"runs.kmeans.atlas": "sick"}, "runs.kmeans.atlas: 'sick' is not one of atlases (healthy, unhealthy)"),
        ({"atlases.healthy.cohort": "x"}, "atlases.healthy.cohort: 'x' is not one of cohorts (phantom, unseen)"),
        ({"preprocess.axes": "LAS"}, "preprocess.axes: must be LAS with the convention released, LPS else"),
        ({"atlases.healthy.convention": "released"}, "preprocess.axes: must be LAS with the convention released"),
        ({"segmentation.method": "lungmask"}, "segmentation.weights: lungmask needs a file"),
        ({"runs.drasclr.params.groups": 3}, "runs.drasclr.params: groups (3) does not divide batch_size (32)"),
        ({"runs.drasclr.params.groups": 32}, "runs.drasclr.params: batch_size (32) leaves one subject to each of the"),
        ({"runs.drasclr.params.processes": 4}, "runs.drasclr.params: processes (4) does not divide groups (1)"),
        ({"runs.drasclr.params.nodes": 2}, "runs.drasclr.params: nodes (2) does not divide processes (1)"),
        (
            {"runs.patch-moco.params.queue_size": 8},
            "runs.patch-moco.params: queue_size (8) is less than one batch (32)",
        ),
        (
            {"runs.drasclr.params.negatives": "queue"},
            "runs.drasclr.params: key_momentum (null) leaves no encoder to fill a queue",
        ),
        (
            {"runs.drasclr.params.queues": "global"},
            "runs.drasclr.params: queues (global) needs a queue, but negatives is",
        ),
        (
            {"pretrain.probe_steps": 10, "pretrain.probe_task": "true_emphysema", "storage.keep": ["bank", "ingest"]},
            "pretrain: probe_task (true_emphysema) needs patches, phantom in storage.keep",
        ),
        ({"pretrain.view_gamma": [2.0, 1.0]}, "pretrain: view_gamma (2.0, 1.0) must begin with the smaller exponent"),
        ({"pretrain.device": "cpu", "pretrain.precision": "bfloat16"}, "pretrain: precision (bfloat16) needs a GPU"),
        ({"pretrain.time_limit_minutes": 5}, "pretrain: margin_minutes (5) leaves nothing of time_limit_minutes (5)"),
        ({"runs.drasclr.params.neighbours": 4}, "runs.drasclr.params: neighbours (4) is more than landmarks.neighbour"),
    ],
)
def test_a_fault_across_keys_names_them(changes, fault):
    assert any(told.startswith(fault) for told in faults(changes))


CLINIC = {"cohorts.clinic": {"participants": "clinic.tsv"}}
NO_PHANTOM = "and only a phantom's true disease is known: name a phantom cohort there, or remove roles.unseen"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({**CLINIC, "roles.unseen": "clinic"}, f"roles.unseen: roles.unseen is clinic, {NO_PHANTOM}"),
        ({**CLINIC, "roles.copd": "clinic"}, f"roles.unseen: roles.copd is clinic, {NO_PHANTOM}"),
        ({"roles.copd": None}, f"roles.unseen: roles.copd is None, {NO_PHANTOM}"),
        (
            {"roles.covid": "unseen"},
            "roles.unseen: encoders are trained on unseen, for it has another role too; name another cohort",
        ),
        ({"roles.unseen": "nobody"}, "roles.unseen: 'nobody' is not one of cohorts (phantom, unseen)"),
        (
            {"roles.unseen": "phantom"},
            "roles.unseen: phantom shares phantom 40 with phantom; let its phantom.first be 41 or more",
        ),
        (
            {"cohorts.unseen.phantom.first": 40},
            "roles.unseen: unseen shares phantom 40 with phantom; let its phantom.first be 41 or more",
        ),
        (
            {"cohorts.phantom.phantom.first": 220},
            "roles.unseen: unseen shares phantom 220 with phantom; let its phantom.first be 260 or more",
        ),
        ({"cohorts.unseen.phantom.subjects": 4}, "evaluation.folds: 5, but unseen has 4 participants"),
    ],
)
def test_unseen_phantoms_are_phantoms_and_unseen(changes, fault):
    assert fault in faults(changes)


@pytest.mark.parametrize(("first", "trained_first"), [(41, 1), (1, 21)])
def test_phantoms_beside_each_other_share_none(first, trained_first):
    changes = {"cohorts.unseen.phantom.first": first, "cohorts.phantom.phantom.first": trained_first}
    check_config(changed(DEFAULT, changes))


def test_nobody_trains_on_the_unseen():
    assert studied_cohorts(CHOSEN) == ["phantom"]
    few = changed(CHOSEN, {"cohorts.unseen.phantom.subjects": 5})  # less than a batch
    check_config(few)
    check_participants(few, {"phantom": dict.fromkeys(phantom_ids(40), "")})


def test_a_cohort_cannot_take_the_folder_of_the_atlases():
    told = faults({"cohorts.atlases": DEFAULT["cohorts"]["phantom"]})
    assert told == ["cohorts.atlases: the name is taken by the folder results/atlases; choose another"]


def test_settings_of_a_training_are_the_section_the_overrides_of_its_run_and_its_seed():
    settings = pretrain_settings(changed(CHOSEN, {"seed": 5}), "patch-moco")
    assert settings["seed"] == 0
    assert settings["queues"] == "global"
    assert settings["learning_rate"] == RECIPES["small"]["learning_rate"]
    assert set(settings) == {"seed", *DEFAULT["pretrain"], *RECIPES["small"]} - {"recipe"}


@pytest.mark.parametrize(
    ("recipe", "sizes", "chosen"),
    [
        ("auto", {"a": SMALL_BELOW - 1, "b": 10_000}, "small"),
        ("auto", {"a": SMALL_BELOW}, "paper"),
        ("paper", {"a": 40}, "paper"),
        ("small", {"a": 10_000}, "small"),
    ],
)
def test_the_recipe_follows_the_smallest_cohort_unless_it_is_named(recipe, sizes, chosen):
    config = changed(DEFAULT, {"pretrain.recipe": recipe, "pretrain.beta": 0.5})
    made = with_recipe(config, sizes)
    settings = pretrain_settings(made, "drasclr")
    assert settings["key_momentum"] == {"small": None, "paper": 0.999}[chosen]
    assert settings["beta"] == 0.5  # what is given counts
    assert config["pretrain"]["recipe"] == recipe
    assert with_recipe(made, sizes) == made


def test_a_run_can_name_a_recipe_of_its_own():
    config = changed(CHOSEN, {"runs.paper": {"method": "drasclr", "atlas": "healthy", "params": {"recipe": "paper"}}})
    assert pretrain_settings(config, "paper")["queue_size"] == 4096
    assert pretrain_settings(config, "drasclr")["negatives"] == "batch"


def test_recipes_hold_the_same_settings_and_the_papers_are_the_defaults():
    assert RECIPES["small"].keys() == RECIPES["paper"].keys()
    given = {**RECIPES["paper"], "view_gamma": tuple(RECIPES["paper"]["view_gamma"])}
    assert vars(PretrainSettings(**given)) == vars(PretrainSettings())


def test_a_fault_of_a_training_is_told_once_its_recipe_is_chosen():
    config = changed(DEFAULT, {"pretrain.groups": 3})
    check_config(config)
    with pytest.raises(InputError, match="groups \\(3\\) does not divide batch_size \\(32\\)"):
        check_participants(with_recipe(config, {"phantom": 40}), {"phantom": dict.fromkeys(phantom_ids(40), "")})


def test_a_run_has_a_training_for_each_seed_and_the_first_keeps_its_name():
    config = changed(CHOSEN, {"runs.drasclr.seeds": [7, 0, 12]})
    names = training_names(config, "drasclr")
    assert names == ["drasclr", "drasclr/seed-0", "drasclr/seed-12"]
    assert [pretrain_settings(config, name)["seed"] for name in names] == [7, 0, 12]
    assert training_names(config, "kmeans") == ["kmeans"]
    assert every_training(config) == [*DEFAULT["runs"], *names[1:]]


def test_which_runs_train():
    trained = {
        "laa950": False,
        "no-image": False,
        "kmeans": False,
        "patch-moco": True,
        "untrained": True,
        "drasclr": True,
    }
    assert {run: is_pretrained(DEFAULT, run) for run in trained} == trained


@pytest.mark.parametrize(
    ("twin", "first"),
    [
        ({"method": "drasclr", "atlas": "healthy"}, "drasclr"),
        # An override with the section's own value changes nothing.
        ({"method": "drasclr", "atlas": "healthy", "params": {"beta": RECIPES["small"]["beta"]}}, "drasclr"),
        ({"method": "drasclr", "atlas": "healthy", "params": {"beta": 0}}, "twin"),
        ({"method": "drasclr", "atlas": "other"}, "twin"),
        ({"method": "laa950", "atlas": "healthy"}, "laa950"),
        ({"method": "kmeans", "atlas": "healthy", "params": {"words": 31}}, "twin"),
    ],
)
def test_equal_runs_are_one(twin, first):
    assert same_run(changed(CHOSEN, {"runs.twin": twin}), "twin") == first


@pytest.mark.parametrize(
    ("seeds", "training", "first"),
    [
        ([0, 1], "twin", "drasclr"),
        ([0, 1], "twin/seed-1", "drasclr/seed-1"),
        ([1, 0], "twin", "twin"),  # the first of its run: it stays where it is when drasclr gets that seed too
        ([1, 0], "drasclr/seed-1", "twin"),
        ([1, 0], "twin/seed-0", "drasclr"),
        ([3], "twin", "twin"),
    ],
)
def test_equal_trainings_are_one_whatever_their_places_in_the_runs(seeds, training, first):
    twin = {"method": "drasclr", "atlas": "healthy", "seeds": seeds}
    assert same_run(changed(CHOSEN, {"runs.drasclr.seeds": [0, 1, 2], "runs.twin": twin}), training) == first


def test_a_digest_depends_on_content_alone():
    content = {"a": [1, 2.5, None], "b": {"c": "ä"}}
    assert digest(content) == digest({"b": {"c": "ä"}, "a": [1, 2.5, None]})
    assert len(digest(content)) == 16
    assert len({digest(content), digest({**content, "a": [2.5, 1, None]}), digest({**content, "d": 0})}) == 3


def test_nan_has_no_digest():
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest(float("nan"))


def test_a_key_that_stands_twice_is_refused(tmp_path):
    text = yaml.safe_dump(DEFAULT) + "seed: 1\n"
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InputError, match="'seed' stands twice"):
        read_yaml(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"cohorts: {clinic: {participants: {{path}}}}\n", "a name cannot be a mapping or a list.*line 1"),
        ("# M\u00fcller\n".encode("latin-1"), r"is not UTF-8 \(byte 3\)"),
        (None, r"cannot be read \(Is a directory\)"),
    ],
    ids=["template", "latin-1", "folder"],
)
def test_what_is_no_document_is_told_by_its_path(tmp_path, content, fault):
    path = tmp_path / "config.yaml"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=rf"(?s)config\.yaml .*{fault}"):
        read_yaml(path)


def test_cohorts_too_small_and_missing_atlases_are_named_at_once():
    config = changed(CHOSEN, {"atlases.healthy.participant": "nobody"})
    participants = {"phantom": dict.fromkeys((f"p{i}" for i in range(4)), "")}
    with pytest.raises(InputError) as error:
        check_participants(config, participants)
    message = str(error.value)
    assert "atlases.healthy.participant: 'nobody' is not in the cohort phantom" in message
    assert "evaluation.folds: 5, but phantom has 4 participants" in message
    assert "runs.drasclr: batch_size 32, but phantom has 4 participants" in message
    assert "untrained" not in message  # no epochs, no batches


def test_folds_are_at_most_as_many_as_the_persons():
    ids = phantom_ids(40)
    for people, fault in ((5, ""), (4, "evaluation.folds: 5, but phantom has 4 persons")):
        persons = {name: f"{place % people}" for place, name in enumerate(ids)}
        with pytest.raises(InputError) if fault else nullcontext() as error:
            check_participants(CHOSEN, {"phantom": dict.fromkeys(ids, "")}, {"phantom": persons})
        assert not fault or fault in str(error.value)


def test_whom_the_table_excludes_lends_no_atlas_and_fills_no_batch():
    reasons = {name: "" if int(name[-3:]) % 2 else "lobectomy" for name in phantom_ids(40)}
    with pytest.raises(InputError) as error:
        check_participants(CHOSEN, {"phantom": reasons})
    _, *faults = map(str.strip, str(error.value).splitlines())
    assert faults == [
        "atlases.unhealthy.participant: 'phantom-002' has an exclude_reason in the cohort phantom; choose another",
        "runs.patch-moco: batch_size 32, but phantom has 20 participants without an exclude_reason",
        "runs.drasclr: batch_size 32, but phantom has 20 participants without an exclude_reason",
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_must_be_finite(value):
    config = changed(DEFAULT, {"pretrain.learning_rate": value, "preprocess.spacing_mm": value})
    with pytest.raises(InputError, match=r"(?s)preprocess.spacing_mm: \w+ is not a finite.*pretrain.learning_rate"):
        check_config(config)


@pytest.mark.parametrize("section", ["cohorts", "atlases", "runs"])
def test_a_name_ends_where_its_line_ends(section):
    name, content = next(iter(DEFAULT[section].items()))
    config = {**DEFAULT, section: {**DEFAULT[section], f"{name}\n": content}}
    with pytest.raises(InputError, match=rf"{section}.*does not match"):
        check_config(config)
