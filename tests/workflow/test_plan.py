"""Estimates counted by hand from round figures."""

import json
import re

import pytest
import yaml
from typer.testing import CliRunner
from workflow_run import DEFAULT, FULL, ROOT, changed

from drasclr_core.base.documents import read_yaml
from drasclr_core.base.errors import InputError
from drasclr_core.cli.main import app
from drasclr_core.config.recipes import with_recipe
from drasclr_core.workflow.costs import COSTS, grid_size
from drasclr_core.workflow.plan import cohort_sizes, make_plan

ROUND = {
    "landmarks": 581,
    "patch_bytes": 1e6,
    "compressed": 0.5,
    "ingest_cpu_s": 35,
    "segment_cpu_s": 17,
    "lungmask_cpu_s": 71,
    "register_cpu_s": 7,
    "cut_cpu_s": 3,
    "simulate_cpu_s": 8,
    "overhead_cpu_s": 1,
    "scan_memory_gb": 0.5,
    "ingest_bytes": 10e6,
    "segment_bytes": 1e6,
    "register_bytes": 1e3,
    "phantom_bytes": 20e6,
    "bank_cpu_s": 0.36,
    "cpu_step_s": 0.18,
    "gpu_step_s": 0.036,
    "embed_cpu_s": 0.036,
    "training_memory_gb": 1.0,
    "gpu_host_memory_gb": 2.0,
    "model_bytes": 30e6,
    "subjects_per_job": 20,
}
TRAINING = {
    "recipe": "paper",
    "batch_size": 32,
    "processes": 4,
    "epochs": 10,
    "negatives": "queue",
    "queue_size": 1000,
    "feature_dim": 100,
    "row_memory_gb": 0.1,
}
CONFIG = changed(
    {**DEFAULT, "pretrain": {**DEFAULT["pretrain"], **TRAINING, "groups": 4, "cpu_threads": 3, "device": "cuda"}},
    {
        "cohorts": {"study": {"participants": "participants.tsv"}},
        "roles": {"copd": "study", "covid": "study"},
        "atlases": {
            "healthy": {"cohort": "study", "participant": "a"},
            "other": {"mask": "mask.nii.gz"},
            "unused": {"cohort": "study", "participant": "b"},
        },
        "runs": {
            "no-image": {"method": "no_image", "atlas": "healthy"},
            "drasclr": {"method": "drasclr", "atlas": "healthy"},
            "twin": {"method": "drasclr", "atlas": "healthy"},
            "longer": {"method": "drasclr", "atlas": "other", "params": {"epochs": 30}},
            "untrained": {"method": "drasclr", "atlas": "healthy", "params": {"epochs": 0}},
        },
        "preprocess.spacing_mm": 2.0,
        "storage.keep": ["ingest", "bank"],
    },
)


@pytest.fixture
def costs_file(tmp_path):
    path = tmp_path / "costs.yaml"
    path.write_text(yaml.safe_dump({name: {"value": value, "source": "round"} for name, value in ROUND.items()}))
    return path


@pytest.fixture
def stages(costs_file):
    """Return the stages of 100 subjects and 10 landmarks, by rule."""
    plan = make_plan(CONFIG, {"study": 100}, landmarks=10, cores=50, costs_file=costs_file)
    return {stage.rule: stage for stage in plan.stages}


def test_jobs_by_hand(stages):
    assert {rule: stage.jobs for rule, stage in stages.items()} == {
        "ingest_scan": 100,
        "segment_lungs": 100,
        "register_lungs": 200,  # two atlases in use
        "cut_patches": 200,
        "tables, atlases": 1 + 2 * 2 + 2 * 2,  # the table; mask and landmarks; who is in, and the gate
        "build_bank": 2,
        "pretrain_encoder": 3,  # the twin is drasclr again
        "embed_bank": 3,
    }


def test_slurm_jobs_are_groups_of_subjects_and_the_lender_of_an_atlas(stages):
    assert stages["ingest_scan"].slurm_jobs == 100 / 20 + 1
    assert [stages[rule].slurm_jobs for rule in ("segment_lungs", "register_lungs", "cut_patches")] == [0, 0, 0]


def test_hours_by_hand(stages):
    assert stages["ingest_scan"].core_hours == pytest.approx(100 * (35 + 1) / 3600)
    assert stages["segment_lungs"].core_hours == pytest.approx(100 * (17 + 1) / 3600)
    assert stages["register_lungs"].core_hours == pytest.approx(200 * (7 + 1) / 3600)
    assert stages["register_lungs"].wall_hours == pytest.approx(200 * (7 + 1) / 3600 / 50)
    assert stages["build_bank"].core_hours == pytest.approx(2 * 100 * 10 * 0.36 / 3600)
    assert stages["build_bank"].wall_hours == pytest.approx(100 * 10 * 0.36 / 3600)  # both at a time
    assert stages["embed_bank"].core_hours == pytest.approx(3 * 100 * 10 * 0.036 / 3600)


def test_a_training_on_gpus_by_hand(stages):
    gpu_hours = (10 + 30 + 0) * 100 * 10 * 0.036 / 3600
    training = stages["pretrain_encoder"]
    assert training.gpu_hours == pytest.approx(gpu_hours)
    assert training.wall_hours == pytest.approx(gpu_hours / 4)
    assert training.core_hours == pytest.approx(gpu_hours * 3)  # three threads wait for each GPU


@pytest.mark.parametrize("device", ["cpu", "cuda", "auto"])
def test_memory_of_a_training_by_hand(costs_file, device):
    config = changed(CONFIG, {"pretrain.device": device})
    plan = make_plan(config, {"study": 100}, landmarks=10, costs_file=costs_file)
    stages = {stage.rule: stage for stage in plan.stages}
    queues_gb = 10 * 1000 * 100 * 4 / 1e9
    rows_gb = 4 * (100 / 4 * 1e6 / 1e9)  # of 0.1 GB, four rows of a process's 25 subjects
    on_cpu, on_gpu = queues_gb + rows_gb + 1.0, queues_gb + rows_gb / 4 + 2.0
    expected = {"cpu": on_cpu, "cuda": on_gpu, "auto": on_gpu}
    assert stages["pretrain_encoder"].memory_gb == pytest.approx(4 * expected[device])


def test_memory_of_other_stages_by_hand(stages):
    assert stages["build_bank"].memory_gb == CONFIG["bank"]["memory_gb"]
    # All features of 100 subjects and two rows of a landmark; 100 + 944 numbers each, for pooled ones are configured.
    assert stages["embed_bank"].memory_gb == pytest.approx(100 * 10 * 1044 * 4 / 1e9 + 2 * 100 * 1e6 / 1e9 + 1.0)
    assert stages["embed_bank"].disk_gb == pytest.approx(3 * 100 * 10 * 1044 * 4 / 1e9)


def test_disk_by_hand(stages):
    assert stages["ingest_scan"].disk_gb == pytest.approx(100 * 0.01 / 8)  # 2 mm: an eighth of the voxels
    assert stages["cut_patches"].disk_gb == pytest.approx(200 * 10 * 1e6 * 0.5 / 1e9)
    assert stages["build_bank"].disk_gb == pytest.approx(200 * 10 * 1e6 * 0.5 / 1e9)
    assert [rule for rule, stage in stages.items() if not stage.kept] == [
        "segment_lungs",
        "register_lungs",
        "cut_patches",
    ]


def test_totals_add_up(costs_file):
    plan = make_plan(CONFIG, {"study": 100}, landmarks=10, costs_file=costs_file)
    total = plan.total()
    assert total["jobs"] == 617
    assert total["slurm_jobs"] == 6 + 9 + 2 + 3 + 3
    assert total["kept_gb"] == pytest.approx(total["disk_gb"] - 1 - 200 * 1e3 / 1e9 - 100 * 1e6 / 8 / 1e9)
    assert total["memory_gb"] == max(stage.memory_gb for stage in plan.stages)


def test_a_time_limit_cuts_trainings_into_jobs(costs_file):
    limited = changed(CONFIG, {"pretrain.time_limit_minutes": 2, "pretrain.margin_minutes": 1})
    plan = make_plan(limited, {"study": 100}, landmarks=10, costs_file=costs_file)
    training = next(stage for stage in plan.stages if stage.rule == "pretrain_encoder")
    # 360 GPU-seconds on four: 1.5 minutes of one a job; 1080 on four: 4.5 minutes; untrained.
    assert training.slurm_jobs == 2 + 5 + 1


def test_each_seed_is_a_training_but_that_of_an_equal_run(costs_file):
    more = changed(CONFIG, {"runs.drasclr.seeds": [0, 1, 2], "runs.twin.seeds": [2, 3]})
    plans = [make_plan(config, {"study": 100}, landmarks=10, costs_file=costs_file) for config in (CONFIG, more)]
    jobs = [{stage.rule: stage.jobs for stage in plan.stages} for plan in plans]
    assert jobs[1] == {**jobs[0], "pretrain_encoder": 3 + 3, "embed_bank": 3 + 3}


def test_without_a_gpu_a_training_costs_core_hours(costs_file):
    on_cpu = changed(CONFIG, {"pretrain.device": "cpu"})
    plan = make_plan(on_cpu, {"study": 100}, landmarks=10, costs_file=costs_file)
    training = next(stage for stage in plan.stages if stage.rule == "pretrain_encoder")
    core_hours = 40 * 100 * 10 * 0.18 / 3600
    assert (training.gpu_hours, training.core_hours) == (0, pytest.approx(core_hours))
    assert training.wall_hours == pytest.approx(core_hours / 12)


def test_phantoms_are_simulated():
    plan = make_plan(with_recipe(FULL, cohort_sizes(FULL)), cohort_sizes(FULL), landmarks=22)
    assert (plan.stages[0].rule, plan.stages[0].jobs) == ("simulate_scan", 40)


@pytest.mark.parametrize(("spacing_mm", "count"), [(1.0, 581), (3.0, 22)])
def test_the_grid_of_another_spacing(spacing_mm, count):
    # 22 is what the atlas of the default configuration has.
    assert grid_size(changed(FULL, {"preprocess.spacing_mm": spacing_mm}), 581) == count


def test_the_size_of_a_cohort_is_that_of_its_table(tmp_path):
    (tmp_path / "participants.tsv").write_text("participant_id\timage\na\ta.nii.gz\nb\tb.nii.gz\n")
    config = changed(CONFIG, {"cohorts.study.participants": str(tmp_path / "participants.tsv")})
    assert cohort_sizes(config) == {"study": 2}
    assert cohort_sizes(config, 10_000) == {"study": 10_000}
    with pytest.raises(InputError, match="0 is too small"):
        cohort_sizes(config, 0)


def test_every_figure_has_a_source_and_the_groups_are_the_profiles():
    table = read_yaml(COSTS)
    assert set(table) == set(ROUND)
    assert all(entry["source"] for entry in table.values())
    profile = read_yaml(ROOT / "profiles" / "slurm" / "config.yaml")
    assert f"subject={table['subjects_per_job']['value']}" in str(profile["group-components"])


def test_the_command_prints_a_table_and_what_was_not_measured():
    result = CliRunner().invoke(app, ["plan", str(ROOT / "config" / "copdgene.yaml"), "--subjects", "10000"])
    assert result.exit_code == 0
    assert "10,000 subjects, 581 landmarks" in result.stdout
    assert re.search(r"register_lungs\W+20,000", result.stdout)
    assert re.search(r"gpu_step_s = \S+ was not measured", result.stdout)


def test_the_command_prints_json():
    result = CliRunner().invoke(app, ["plan", str(ROOT / "config.yaml"), "--json"])
    content = json.loads(result.stdout)
    assert (content["subjects"], content["landmarks"]) == (40, 22)
    assert content["total"]["jobs"] == sum(stage["jobs"] for stage in content["stages"])


@pytest.mark.parametrize("name", ["landmarks", "cores", "gpus"])
@pytest.mark.parametrize("value", [-5, 0])
def test_sizes_below_one_are_refused(name, value):
    with pytest.raises(InputError, match=f"{name}: {value} is too small"):
        make_plan(CONFIG, {"study": 100}, **{name: value})


@pytest.mark.parametrize("option", ["--subjects", "--landmarks"])
@pytest.mark.parametrize("value", ["-5", "0"])
def test_the_command_refuses_sizes_below_one(option, value):
    result = CliRunner().invoke(app, ["plan", str(ROOT / "config.yaml"), option, value])
    assert (result.exit_code, option in result.stderr) == (2, True)


def test_a_faulty_configuration_is_refused(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(changed(FULL, {"bank.memory_gb": None})))
    result = CliRunner().invoke(app, ["plan", str(path)])
    assert (result.exit_code, "memory_gb" in result.stderr) == (2, True)
