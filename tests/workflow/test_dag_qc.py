"""What the quality control needs to be done, and what it must not do anew."""

import re

from workflow_run import DEFAULT, changed, planned_jobs, snakemake, succeeded

CLINIC = ["a1", "b2", "c3", "d4", "e5"]
CONFIG = changed(
    DEFAULT,
    {
        "cohorts.clinic": {"participants": "clinic.tsv"},
        "roles": {"copd": "clinic"},
        "atlases": {"healthy": {"cohort": "clinic", "participant": "a1"}},
        "pretrain.batch_size": 4,
        "storage.keep": ["segment", "register", "patches", "bank"],
    },
)
CONFIG["runs"] = {"drasclr": CONFIG["runs"]["drasclr"]}


def write_table(folder):
    lines = ["participant_id\timage", *(f"{name}\t{name}.nii.gz" for name in CLINIC)]
    (folder / "clinic.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def rules(jobs):
    return {job.split()[0] for job in jobs}


def test_the_page_needs_the_preprocessing_alone_and_not_its_gate(tmp_path):
    write_table(tmp_path)
    stages = {"ingest_scan", "segment_lungs", "register_lungs", "cut_patches"}
    atlas = {"make_atlas", "lay_landmarks"}
    pages = {"draw_qc", "make_qc_page", "collect_subjects", "check_participants", "qc"}
    assert rules(planned_jobs(tmp_path, CONFIG, "qc")) == stages | atlas | pages


def test_volumes_that_were_temporary_are_not_made_again_for_it(tmp_path):
    write_table(tmp_path)
    plan = succeeded(snakemake(tmp_path, CONFIG, "--dry-run", "preprocess"))
    for output in {path for line in re.findall(r"^ +output: (.*)$", plan, re.M) for path in line.split(", ")}:
        path = tmp_path / output
        if path.suffix in (".tsv", ".json", ".gz"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        else:
            path.mkdir(parents=True)
    succeeded(snakemake(tmp_path, CONFIG, "--touch", "--forceall", "preprocess"))
    assert not (tmp_path / "results/clinic/ingest/b2").exists()
    assert planned_jobs(tmp_path, CONFIG, "qc") == {"draw_qc", "make_qc_page", "qc"}
