"""What our rules add to Snakemake for a cluster: outputs that are kept, and a job of several subjects."""

import pytest
from workflow_run import changed, snakemake, succeeded, tiny_config

pytestmark = pytest.mark.workflow

CONFIG = tiny_config()
OTHER = changed(CONFIG, {"seed": 1})
FOLDS = "results/phantom/folds.tsv"
SCANS = [f"results/phantom/phantom/phantom-00{n}" for n in (1, 2, 3)]
KEEP = ("--keep-incomplete",)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with the folds and one scan."""
    folder = tmp_path_factory.mktemp("finished")
    succeeded(snakemake(folder, CONFIG, FOLDS, SCANS[0]))
    return folder


def inodes(folder):
    """Return what tells whether the folds and the scan are still those of before."""
    return [(folder / path).stat().st_ino for path in (FOLDS, f"{SCANS[0]}/ct.nii.gz")]


@pytest.mark.parametrize("options", [["--touch"], ["--dry-run"]])
def test_outputs_that_are_only_looked_at_or_touched_stay(finished, options):
    before = inodes(finished)
    output = succeeded(
        snakemake(finished, CONFIG, *KEEP, *options, "--forcerun", FOLDS, SCANS[0], "--", FOLDS, SCANS[0])
    )
    assert "assign_folds" in output
    assert inodes(finished) == before


def test_only_the_outputs_of_jobs_to_come_are_removed(finished):
    folds, scan = inodes(finished)
    succeeded(snakemake(finished, OTHER, *KEEP, FOLDS))  # the scan is outdated too, but was not asked for
    assert inodes(finished)[0] != folds
    assert inodes(finished)[1] == scan


def test_a_job_of_several_subjects_goes_on_when_one_fails(tmp_path):
    """As Slurm's job does: all that Snakemake passes to it of what matters here."""
    (tmp_path / "logs/phantom/simulate_scan/phantom-001.log/in the way").mkdir(parents=True)
    jobs = [f"simulate_scan:cohort=phantom,id=phantom-00{n}" for n in (1, 2, 3)]
    options = ["--mode", "remote", "--force", "--nolock", "--no-hooks", *KEEP, "--cores", "1"]
    process = snakemake(tmp_path, CONFIG, *options, "--prioritize", SCANS[0], "--target-jobs", *jobs)
    assert process.returncode != 0
    assert [(tmp_path / scan / "record.json").exists() for scan in SCANS] == [False, True, True]
