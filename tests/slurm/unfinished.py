"""A workflow with two subjects' work before it, and what tells of its results."""

import shutil

from on_cluster import ALIGNED

STAGES = ["results/phantom/phantom", "results/phantom/ingest", "results/phantom/segment"]
STAGES += [f"{ALIGNED}/register", f"{ALIGNED}/patches"]
SUBJECTS = ("phantom-003", "phantom-004")
BANK = f"{ALIGNED}/bank.zarr"


def unfinished_copy(finished, folder):
    """Copy a finished run without its bank, and without all that was made of two of its four subjects."""
    shutil.copytree(finished, folder, dirs_exist_ok=True)
    for path in [BANK, *(f"{stage}/{subject}" for stage in STAGES for subject in SUBJECTS)]:
        shutil.rmtree(folder / path)
    shutil.rmtree(folder / "logs")


def bank_bytes(folder):
    """Return what the bank's files hold."""
    files = [path for path in (folder / BANK).rglob("*") if path.is_file() and path.name != ".snakemake_timestamp"]
    assert files
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
