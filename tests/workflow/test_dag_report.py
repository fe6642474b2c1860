"""What the report and the figures need of a configuration."""

import pytest
from workflow_run import DEFAULT, changed, planned_jobs, snakemake, succeeded


def small(changes=None):
    return changed(DEFAULT, {"cohorts.phantom.phantom.subjects": 32, **(changes or {})})


def figures(folder, config):
    plan = succeeded(snakemake(folder, config, "--dry-run", "figures"))
    outputs = [line.split() for line in plan.splitlines() if line.strip().startswith("output: results/figure")]
    return {fields[1].removeprefix("results/").removesuffix(".png,") for fields in outputs}


def test_the_default_configuration_has_every_figure_and_a_page(tmp_path):
    assert figures(tmp_path, small()) == {
        "figure3",
        "figure4",
        "figure5",
        "figure_embedding",
        "figure_embedding_covid",
        "figure_importance",
        "figure_neighbours",
        "figure_survival",
    }
    jobs = planned_jobs(tmp_path, small(), "report")
    assert {"make_report", "make_figure", "make_table", "draw_training drasclr"} <= jobs
    assert "draw_training untrained" not in jobs  # it has no curve
    without = ("laa950", "no-image", "histogram", "histogram3", "untrained")
    assert {job for job in jobs if "linear_masks" in job} == {f"judge_linear_masks {run}" for run in without}


def test_figures_of_a_role_that_nobody_plays_are_left_out(tmp_path):
    assert figures(tmp_path, small({"roles": {"covid": "phantom"}})) == {"figure_embedding_covid"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"roles": {"covid": "phantom"}}, "experiments/figure4.yaml needs a cohort in roles.copd"),
        ({"runs.drasclr": None}, "experiments/figure4.yaml needs runs.drasclr"),
    ],
)
def test_a_figure_says_what_it_lacks(tmp_path, changes, message):
    process = snakemake(tmp_path, small(changes), "--dry-run", "results/figure4.png")
    assert process.returncode != 0
    assert message in process.stdout + process.stderr


@pytest.mark.parametrize(
    ("wanted", "passing", "masked"),
    [(4, 0.5, 8), (10, 0.5, 18), (None, 1.0, 18)],
    ids=["spares", "no more than there are", "all"],
)
def test_masks_are_of_included_subjects_drawn_at_random_with_spares(tmp_path, wanted, passing, masked):
    ids = [f"a{number:02d}" for number in range(20)]
    out = {"a03": "no lungs", "a07": "withdrawn"}
    lines = ["participant_id\timage\texclude_reason", *(f"{id_}\t{id_}.nii.gz\t{out.get(id_, '')}" for id_ in ids)]
    (tmp_path / "clinic.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "boxes.tsv").write_text("participant_id\tsubtype\tx_mm\ty_mm\tz_mm\n", encoding="utf-8")
    clinic = {"participants": "clinic.tsv", "boxes": "boxes.tsv"}
    config = small({"cohorts.clinic": clinic, "roles": {"copd": "clinic"}, "pretrain.batch_size": 4})
    config["preprocess"]["max_excluded_fraction"] = 1 - passing
    config["dense"]["subjects"] = wanted
    jobs = planned_jobs(tmp_path, config, "results/figure4.png")
    found = {job.split()[1] for job in jobs if "mask_emph" in job}
    assert not any("linear_masks" in job for job in jobs)  # the truth of a clinic is not known
    assert len(found) == masked
    assert not found & set(out)
