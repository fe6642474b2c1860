"""All that is checked before the first job is found by `drasclr plan` and by the workflow alike."""

import re
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner
from workflow_run import DEFAULT, ROOT, changed, snakemake

from drasclr_core.base.errors import InputError
from drasclr_core.cli.main import app
from drasclr_core.workflow.study import absent_images, check_study, cohort_rows, read_config, shared_persons

SEEDED = """\
participant_id,image,FEV1pp,fev1_fvc,gold,cle,died,followup_days,exclude_reason,person
a1,a1.nii.gz,80,0.7,0,0,,,,
b2,b2.nii.gz,70,70,1,0,,,no,
c c,c3.nii.gz,60,0.5,7,0,,,NULL,
d4,,50,0.5,2,9,,,-,
a1,a1.nii.gz,x,0.5,3,1,1,,,
f6,f6.nii.gz,50,0.5,2.5,1,,,#N/A,<NA>
"""
FAULTS = [
    "header: column 'FEV1pp': did you mean fev1pp?",
    "line 3, fev1_fvc: 70",
    "line 3, exclude_reason: 'no' would exclude",
    "line 4, participant_id: 'c c'",
    "line 4, gold: 7",
    "line 4, exclude_reason: 'NULL' would be taken as text",
    "line 5, image: empty",
    "line 5, cle: 9",
    "line 5, exclude_reason: '-' would be taken as text",
    "line 6, participant_id: 'a1' is already on line 2",
    "line 6, image: 'a1.nii.gz' is already the scan of line 2",
    "line 6: 'followup_days' is a dependency of 'died'",
    "line 7, gold: 2.5",
    "line 7, exclude_reason: '#N/A' would be taken as text",
    "line 7, person: '<NA>' would be taken as text",
]


def clinic(folder, text, **changes):
    name = "clinic.csv" if "," in text else "clinic.tsv"
    (folder / name).write_text(text, encoding="utf-8")
    config = {"cohorts.clinic": {"participants": str(folder / name)}, "roles": {"copd": "clinic"}, **changes}
    return changed(DEFAULT, config)


def test_plan_and_workflow_report_every_fault_of_a_table(tmp_path):
    config = clinic(tmp_path, SEEDED)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    plan = CliRunner().invoke(app, ["plan", str(tmp_path / "mine.yaml")])
    workflow = snakemake(tmp_path, config, "--dry-run", "results/table2.csv")
    assert plan.exit_code == 2
    for told in (plan.output, workflow.stdout + workflow.stderr):
        assert [fault for fault in FAULTS if fault not in told] == []
        assert "Traceback" not in told
        assert len(re.findall(r"^  (line|header)", told, re.M)) == len(FAULTS)


GOOD = "participant_id\timage\n" + "".join(f"p{i}\tp{i}.nii.gz\n" for i in range(12))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"atlases.healthy.participant": "phantom-999"}, "'phantom-999' is not in the cohort phantom"),
        ({"cohorts.clinic.boxes": "absent.tsv"}, r"absent\.tsv does not exist"),
        ({"segmentation": {"method": "lungmask", "weights": "absent.pth"}}, r"there is no file absent\.pth"),
        ({"evaluation.folds": 40}, "fold"),
        ({"pretrain.batch_size": 30, "pretrain.groups": 4}, "groups"),
        ({"roles.exact09": "none"}, "exact09"),
    ],
)
def test_what_does_not_fit_together_is_found(tmp_path, changes, message):
    config = clinic(tmp_path, GOOD)
    config["cohorts"]["clinic"].update(
        {key.rpartition(".")[2]: value for key, value in changes.items() if key.startswith("cohorts.clinic.")}
    )
    config = changed(config, {key: value for key, value in changes.items() if not key.startswith("cohorts.clinic.")})
    with pytest.raises(InputError, match=message):
        check_study(config, lambda cohort: cohort_rows(config, cohort))


def test_a_sound_study_is_returned_with_its_recipe_and_persons(tmp_path):
    config = clinic(tmp_path, GOOD, **{"pretrain.batch_size": 8, "runs.patch-moco.params.batch_size": 8})
    text = "participant_id\timage\tperson\n" + "".join(f"p{i}\tp{i}.nii.gz\t{'same' * (i < 2)}\n" for i in range(12))
    (tmp_path / "clinic.tsv").write_text(text, encoding="utf-8")
    study = check_study(config, lambda cohort: cohort_rows(config, cohort))
    assert study["pretrain"]["recipe"] == "small"
    persons = shared_persons(cohort_rows(config, "clinic"))
    assert persons["p0"] == persons["p1"] != persons["p2"]
    assert shared_persons(cohort_rows(config, "phantom")) is None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("p" + "0123456789" * 10, "has 101 letters, more than 100"),
        ("x" * 20, "repeats itself 20 times"),
        ("patient" + "0" * 25, "repeats itself 20 times"),
        ("ab" * 20, "repeats itself 20 times"),
    ],
)
def test_ids_that_file_names_or_snakemake_cannot_hold(tmp_path, name, told):
    (tmp_path / "t.tsv").write_text(f"participant_id\timage\n{name}\ta.nii.gz\n", encoding="utf-8")
    with pytest.raises(InputError, match=told):
        cohort_rows({"cohorts": {"c": {"participants": str(tmp_path / "t.tsv")}}}, "c")


@pytest.mark.parametrize("name", ["p" + "0123456789" * 9, "x" * 19, "0" * 19, "1.2.840".replace(".", "-") * 10])
def test_long_ids_that_they_can(tmp_path, name):
    (tmp_path / "t.tsv").write_text(f"participant_id\timage\n{name}\ta.nii.gz\n", encoding="utf-8")
    assert list(cohort_rows({"cohorts": {"c": {"participants": str(tmp_path / "t.tsv")}}}, "c")) == [name]


@pytest.mark.parametrize("word", ["NA", "NULL", "None", "#N/A", "<NA>", "NaT", "-", "n.a.", "--", "?", "nil", "#REF!"])
@pytest.mark.parametrize("column", ["exclude_reason", "race", "person"])
def test_words_for_missing_are_refused_in_every_text_column(tmp_path, word, column):
    (tmp_path / "t.tsv").write_text(f"participant_id\timage\t{column}\na\ta.nii\t{word}\n", encoding="utf-8")
    with pytest.raises(InputError, match=f"line 2, {column}: '{re.escape(word)}' would be taken as text"):
        cohort_rows({"cohorts": {"c": {"participants": str(tmp_path / "t.tsv")}}}, "c")


@pytest.mark.parametrize("word", ["0", "no", "FALSE", "N", "f"])
def test_a_word_for_no_is_no_reason_to_exclude(tmp_path, word):
    (tmp_path / "t.tsv").write_text(f"participant_id\timage\texclude_reason\na\ta.nii\t{word}\n", encoding="utf-8")
    with pytest.raises(InputError, match=f"exclude_reason: '{word}' would exclude"):
        cohort_rows({"cohorts": {"c": {"participants": str(tmp_path / "t.tsv")}}}, "c")


@pytest.mark.parametrize("column", ["FEV1pp", "fev1_pp", "Fev1-PP", "fev1ppp", "pack_year", "Gold"])
def test_a_column_that_is_nearly_known_is_told(tmp_path, column):
    (tmp_path / "t.tsv").write_text(f"participant_id\timage\t{column}\na\ta.nii\t1\n", encoding="utf-8")
    with pytest.raises(InputError, match=rf"header: column '{column}': did you mean \w+\?"):
        cohort_rows({"cohorts": {"c": {"participants": str(tmp_path / "t.tsv")}}}, "c")


@pytest.mark.parametrize("column", ["fev1", "gold_stage", "scanner", "race2", "height_cm", "notes"])
def test_a_column_of_ones_own_is_kept(tmp_path, column):
    (tmp_path / "t.tsv").write_text(f"participant_id\timage\t{column}\na\ta.nii\t1\n", encoding="utf-8")
    assert cohort_rows({"cohorts": {"c": {"participants": str(tmp_path / "t.tsv")}}}, "c")["a"][column] == "1"


@pytest.mark.parametrize("images", [("a.nii.gz", "a.nii.gz"), ("a.nii.gz", "./a.nii.gz"), ("d/a", "d//b/../a")])
def test_one_scan_of_two_participants_is_refused(tmp_path, images):
    lines = "".join(f"p{i}\t{image}\n" for i, image in enumerate(images))
    (tmp_path / "t.tsv").write_text(f"participant_id\timage\n{lines}", encoding="utf-8")
    with pytest.raises(InputError, match="line 3, image: .* is already the scan of line 2"):
        cohort_rows({"cohorts": {"c": {"participants": str(tmp_path / "t.tsv")}}}, "c")


def test_the_command_line_changes_values_of_the_files(tmp_path):
    (tmp_path / "a.yaml").write_text("seed: 0\npretrain: {epochs: 1, steps: [1, 2]}\nstorage: {keep: [a]}\n")
    (tmp_path / "b.yaml").write_text("pretrain: {epochs: 040}\nstorage: {keep: []}\n")
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    config = read_config(files, {"seed": 3, "pretrain": {"rate": "1e-4"}})
    pretrain = {"epochs": 40, "steps": [1, 2], "rate": 1e-4}
    assert config == {"seed": 3, "pretrain": pretrain, "storage": {"keep": []}}
    assert read_config(files[:1], {}) == yaml.safe_load(files[0].read_text())


def test_the_default_configuration_can_be_changed_on_the_command_line(tmp_path):
    command = [sys.executable, "-m", "snakemake", "-s", ROOT / "Snakefile", "-d", tmp_path, "-n", "--cores", "1"]
    given = ["--config", "seed=3", "pretrain={epochs: 2}", "evaluation={folds: 4}", "--", "pretrain"]
    run = subprocess.run([*map(str, command), *given], capture_output=True, encoding="utf-8", check=False)
    output = run.stdout + run.stderr
    assert run.returncode == 0, output[-2000:]
    assert "pretrain_encoder" in output


def test_a_scan_is_the_same_by_its_absolute_path(tmp_path):
    lines = f"p1\tscans/a.nii.gz\np2\t{tmp_path / 'scans/a.nii.gz'}\n"
    (tmp_path / "t.tsv").write_text(f"participant_id\timage\n{lines}", encoding="utf-8")
    with pytest.raises(InputError, match="line 3, image: .* is already the scan of line 2"):
        cohort_rows({"cohorts": {"c": {"participants": str(tmp_path / "t.tsv")}}}, "c")


def test_plan_counts_the_images_that_are_not_there(tmp_path):
    table = "participant_id\timage\n" + "".join(f"p{i}\tp{i}.nii.gz\n" for i in range(40))
    config = clinic(tmp_path, table)
    (tmp_path / "p3.nii.gz").touch()
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert [path.name for path in absent_images(config, "clinic")] == [f"p{i}.nii.gz" for i in range(40) if i != 3]
    told = CliRunner().invoke(app, ["plan", str(tmp_path / "mine.yaml")]).output
    assert "clinic: 39 of 40 images are not there, such as" in told
