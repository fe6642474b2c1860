"""What an edit of the configuration or of the participants table makes Snakemake run again, and what it must not."""

import re
import shutil

import pytest
import yaml
from workflow_run import DEFAULT, changed, planned_jobs, pretend, snakemake, succeeded

from drasclr_core.config.tasks import TASKS

# A cohort of five, registered to the first of two phantoms.
CLINIC = ["a1", "b2", "c3", "d4", "e5"]
CONFIG = changed(
    DEFAULT,
    {
        "cohorts.clinic": {"participants": "clinic.tsv"},
        "cohorts.phantom.phantom.subjects": 2,
        "roles": {"copd": "clinic"},
        "runs.untrained.params.epochs": 0,
        "runs.patch-cnn": None,  # its features are read by nothing here
        "pretrain.batch_size": 4,
        "pretrain.groups": 2,
        "evaluation.folds": 4,
    },
)
TARGETS = ("results/table2.csv", "embed")
TRAINED = ("drasclr", "patch-moco")
ENCODERS = (*TRAINED, "untrained")
FITTED = ("laa950", "kmeans")
UNTRAINED = (*FITTED, "no-image", "histogram", "histogram3")  # which are of no use to Table 2
TABLE = {"make_table"}


def write_table(folder, ids=CLINIC, fev1pp=80, persons=None, **exclude_reason):
    rows = [f"{id_}\t{id_}.nii.gz\t{exclude_reason.get(id_, '')}\t{fev1pp}" for id_ in ids]
    lines = ["participant_id\timage\texclude_reason\tfev1pp", *rows]
    if persons:
        lines = [f"{line}\t{person}" for line, person in zip(lines, ["person", *persons], strict=True)]
    (folder / "clinic.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def of(rules, names):
    return {f"{rule} {name}" for rule in rules.split() for name in names}


def evaluated(*runs):
    return of("evaluate_run", runs) | TABLE


def embedded(*runs):
    """Return what follows once the encoders of `runs` are trained anew."""
    return of("embed_bank", runs) | evaluated(*runs)


def trained(*runs):
    return of("pretrain_encoder", runs) | embedded(*runs)


def after(*stages, ids=CLINIC):
    """Return the stages of `ids` and all that follows for a cohort of which some patches changed."""
    cohort = {"collect_subjects", "check_exclusions", "build_bank"} | of("embed_cohort", UNTRAINED)
    return of(" ".join(stages), ids) | cohort | trained(*ENCODERS) | evaluated(*FITTED)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which the workflow has ended, to Snakemake's knowledge."""
    folder = tmp_path_factory.mktemp("finished")
    write_table(folder)
    (folder / "r231.pth").touch()
    pretend(folder, CONFIG, *TARGETS)
    return folder


def planned(folder, config=CONFIG):
    return planned_jobs(folder, config, *TARGETS) - {"embed"}


EVERYTHING_ALIGNED = after("register_lungs", "cut_patches")
EVERYTHING_RESAMPLED = (
    after("ingest_scan", "segment_lungs", "register_lungs", "cut_patches")
    | of("ingest_scan segment_lungs", ["phantom-001"])
    | {"make_atlas", "lay_landmarks"}
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {
                "pretrain.checkpoint_minutes": 1,
                "pretrain.time_limit_minutes": 60,
                "pretrain.probe_steps": 5,
                "pretrain.log_steps": 3,
                "pretrain.row_memory_gb": 0.5,
                "pretrain.processes": 2,
                "pretrain.nodes": 2,
                "bank.memory_gb": 1,
                "storage.keep": ["bank"],
            },
            set(),
        ),
        ({"pretrain.epochs": 3}, trained(*TRAINED)),
        ({"runs.drasclr.params.neighbours": 1}, trained("drasclr")),
        ({"runs.kmeans.params.words": 5}, of("embed_cohort", ["kmeans"]) | evaluated("kmeans")),
        ({"embedding.features": "last"}, embedded(*ENCODERS)),  # read in another way, never trained again
        ({"evaluation.readout": "plain"}, evaluated(*FITTED, *ENCODERS)),
        (
            {"evaluation.folds": 3},
            {"assign_folds"} | of("embed_cohort", UNTRAINED) | evaluated(*FITTED, *ENCODERS),
        ),
        ({"preprocess.max_excluded_fraction": 0.5}, set()),  # the gate was passed
        ({"patches.max_invalid_fraction": 0.5}, after("cut_patches")),
        ({"landmarks.step": 20}, after("cut_patches") | {"lay_landmarks"}),
        ({"registration.min_dice": 0.9}, EVERYTHING_ALIGNED),
        ({"preprocess.spacing_mm": 2.0}, EVERYTHING_RESAMPLED),
        (
            {"segmentation": {"method": "lungmask", "weights": "r231.pth"}},
            EVERYTHING_RESAMPLED - of("ingest_scan", [*CLINIC, "phantom-001"]),
        ),
        ({"runs.new": {"method": "drasclr", "atlas": "healthy"}}, set()),  # the same as drasclr
        (
            {"runs.new": {"method": "drasclr", "atlas": "healthy", "params": {"neighbours": 1}}},
            of("pretrain_encoder embed_bank", ["new"]),
        ),
        # More seeds: trainings beside the first, which stays as it is.
        ({"runs.drasclr.seeds": [0, 1, 2]}, trained("drasclr/seed-1", "drasclr/seed-2")),
        ({"runs.drasclr.seeds": [1]}, trained("drasclr")),
        ({"cohorts.phantom.phantom.subjects": 3}, set()),  # only its first is of use
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_an_edit_of_the_configuration_reruns_what_it_must(finished, changes, expected):
    assert planned(finished, changed(CONFIG, changes)) == expected


def test_another_seed_has_a_folder_in_that_of_its_run(finished):
    plan = succeeded(snakemake(finished, changed(CONFIG, {"runs.drasclr.seeds": [0, 12]}), "--dry-run", *TARGETS))
    folder = "results/clinic/healthy/runs/drasclr"
    outputs = re.findall(rf"^    output: ({folder}/.*)$", plan, re.M)
    assert sorted(path for line in outputs for path in line.split(", ")) == [
        *(f"{folder}/seed-12/eval/{task}.json" for task in sorted(TASKS)),
        f"{folder}/seed-12/features",
        f"{folder}/seed-12/model/SHA256SUMS",
    ]
    (table,) = re.findall(r"^rule make_table:\n +input: (.*)$", plan, re.M)
    read = {path for path in table.split(", ") if path.startswith(folder)}
    assert read >= {f"{folder}/eval/gold.json", f"{folder}/seed-12/eval/gold.json"}


@pytest.mark.parametrize(
    ("limits", "expected"),
    [({}, set()), ({"pretrain": 90}, {"90"}), ({"pretrain": 90, "runs.drasclr.params": 120.5}, {"121"})],
    ids=["no limit", "one limit", "two limits"],
)
def test_a_cluster_learns_the_longest_time_limit(finished, limits, expected):
    changes = {f"{section}.time_limit_minutes": minutes for section, minutes in limits.items()}
    plan = succeeded(snakemake(finished, changed(CONFIG, changes), "--dry-run", "--forceall", "pretrain"))
    found = re.findall(r"^rule (\w+):\n(?:    .*\n)*?    resources: .*?runtime=(\d+)", plan, re.M)
    assert set(found) == {("pretrain_encoder", minutes) for minutes in expected}


def test_an_edit_of_a_participant_reruns_what_it_must(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder, copy_function=shutil.copy2)
    assert planned(folder) == set()
    table = {"check_participants"}

    write_table(folder, fev1pp=70)  # a label: nothing is embedded again
    assert planned(folder) == table | evaluated(*FITTED, *ENCODERS)

    write_table(folder, fev1pp=70, persons="vwxyz")  # all different: what they were without the column
    assert planned(folder) == table | evaluated(*FITTED, *ENCODERS)

    write_table(folder, persons="vwxyx")
    cohort = {"assign_folds", "build_bank"} | of("embed_cohort", UNTRAINED)
    assert planned(folder) == table | cohort | trained(*ENCODERS) | evaluated(*FITTED)

    write_table(folder, b2="moved")
    chain = after("ingest_scan", "segment_lungs", "register_lungs", "cut_patches", ids=["b2"])
    assert planned(folder) == chain | table

    write_table(folder, ids=[*CLINIC, "f6"])
    chain = after("ingest_scan", "segment_lungs", "register_lungs", "cut_patches", ids=["f6"])
    assert planned(folder) == chain | table | {"assign_folds"}

    write_table(folder)  # as it was: content counts, not time
    (folder / "c3.nii.gz").write_bytes(b"mended")
    chain = after("ingest_scan", "segment_lungs", "register_lungs", "cut_patches", ids=["c3"])
    assert planned(folder) == chain


def test_a_scan_that_was_mended_unnoticed_is_read_again_on_request(finished):
    forced = planned_jobs(finished, CONFIG, "--forcerun", "results/clinic/ingest/c3", "--", *TARGETS) - {"embed"}
    assert forced == after("ingest_scan", "segment_lungs", "register_lungs", "cut_patches", ids=["c3"])


def test_a_scan_that_cannot_be_looked_at_stops_nobody_else(tmp_path):
    write_table(tmp_path)
    table = tmp_path / "clinic.tsv"
    table.write_text(table.read_text().replace("e5.nii.gz", f"{'e' * 256}.nii.gz"))  # longer than a name may be
    assert {"ingest_scan a1", "ingest_scan e5"} <= planned_jobs(tmp_path, CONFIG, "preprocess")


def test_a_label_and_a_parameter_changed_at_once_train_what_the_parameter_changes(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder, copy_function=shutil.copy2)
    write_table(folder, fev1pp=70)
    config = changed(CONFIG, {"runs.drasclr.params.neighbours": 1})
    assert planned(folder, config) == {"check_participants"} | trained("drasclr") | evaluated(*FITTED, *ENCODERS)


def refused(folder, changes):
    """Return what Snakemake says of a configuration before any job."""
    process = snakemake(folder, changed(CONFIG, changes), "results/table2.csv")
    assert process.returncode != 0
    assert not (folder / "results").exists()
    assert "Traceback" not in process.stdout + process.stderr
    return process.stdout + process.stderr


def test_a_bad_configuration_stops_before_any_job_with_all_its_faults(tmp_path):
    write_table(tmp_path)
    message = refused(tmp_path, {"seed": -1, "landmarks.neighbors": 2, "pretrain.queues": "one", "storage": None})
    for fault in ("seed: -1", "landmarks: ", "'neighbors'", "pretrain.queues: 'one'", "'storage' is a required"):
        assert fault in message


def test_a_key_that_stands_twice_stops_before_any_job(tmp_path):
    write_table(tmp_path)
    twice = tmp_path / "twice.yaml"
    twice.write_text(yaml.safe_dump(CONFIG) + "seed: 1\n", encoding="utf-8")
    process = snakemake(tmp_path, CONFIG, "--configfile", str(twice), "--dry-run", "preprocess")
    assert process.returncode != 0
    assert "twice.yaml is not valid YAML: 'seed' stands twice" in process.stdout + process.stderr
    assert "Traceback" not in process.stdout + process.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"atlases.healthy.participant": "phantom-009"}, "atlases.healthy.participant: 'phantom-009' is not in"),
        ({"cohorts.clinic.participants": "absent.tsv"}, "absent.tsv does not exist"),
    ],
)
def test_what_the_configuration_names_must_exist(tmp_path, changes, message):
    write_table(tmp_path)
    assert message in refused(tmp_path, changes)


def test_weights_that_are_missing_stop_before_any_job(tmp_path):
    write_table(tmp_path)
    changes = {"segmentation": {"method": "lungmask", "weights": "absent.pth"}}
    process = snakemake(tmp_path, changed(CONFIG, changes), "results/table2.csv")
    assert process.returncode != 0
    assert "absent.pth" in process.stdout + process.stderr
    assert not list(tmp_path.glob("results/*/*"))


def test_a_table_says_which_runs_it_lacks(tmp_path):
    write_table(tmp_path)
    process = snakemake(tmp_path, changed(CONFIG, {"runs.kmeans": None}), "results/table2.csv")
    assert process.returncode != 0
    assert "experiments/table2.yaml needs runs.kmeans in the configuration" in process.stdout + process.stderr


def test_bad_participant_ids_stop_before_any_job(tmp_path):
    write_table(tmp_path, ids=["a1", "../b", "a1", "c d"])
    message = refused(tmp_path, {})
    for fault in ("line 3, participant_id: '../b'", "line 4, participant_id: 'a1'", "line 5, participant_id: 'c d'"):
        assert fault in message
