"""Each file of docs/file_formats.md emptied, cut short, or with one bit flipped: whoever reads it next says so.

What holds a checksum, or has one recorded, is noticed however it is damaged; other text where it was cut, or cannot be
read. The message names the file, or the store or folder it is a part of, and how it is made again.
"""

import re
import shutil
import sys

import numpy as np
import pytest
from formats_page import described_files
from tiny_results import IDS, write_results
from workflow_run import ROOT

from drasclr_core.atlas.bank import build_bank, open_bank
from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.subject import Subject
from drasclr_core.base.errors import DamagedError, InputError
from drasclr_core.base.files import read_json, read_record
from drasclr_core.base.stores import Store
from drasclr_core.base.tables import whole
from drasclr_core.cohort.boxes import read_boxes
from drasclr_core.cohort.flow import read_included
from drasclr_core.cohort.folds import read_folds
from drasclr_core.cohort.table import validate_participants
from drasclr_core.detect.finetuned import load_detectors
from drasclr_core.detect.masks import read_probability
from drasclr_core.detect.patches import read_box_patches
from drasclr_core.evaluate.probes import provenance_of, read_features
from drasclr_core.evaluate.truth import patch_disease, read_cohort
from drasclr_core.model.folder import load_model
from drasclr_core.qc.rows import read_rows
from drasclr_core.report.content import read_figure
from drasclr_core.report.flow import read_flow
from drasclr_core.scan.images import read_image

sys.path.insert(0, str(ROOT / "workflow_scripts"))

UNREAD = [  # pictures, pages and final tables, for the eye: the report shows them as they are
    r"results/(table|tableA)[^/]+\.(csv|md)",
    r"results/figure[^/]+\.(png|csv)",
    r"results/(report\.html|disease_probe\.md|known_truth\.csv)",
    r"results/[^/]+/[^/]+/(qc\.html|qc/[^/]+/[^/]+\.png)",
    r"results/[^/]+/[^/]+/runs/[^/]+/(training\.(png|csv)|model/tensorboard/.*)",
    r"results/[^/]+/[^/]+/runs/[^/]+/detector/SHA256SUMS",  # for sha256sum; detector.json holds the sums that count
]


def subject(path):
    """Return the subject whose stage's folder holds a file."""
    cohort = next(folder for folder in path.parents if folder.parent.name == "results")
    name = next(part for part in path.parts if part in IDS)
    return Subject(name, *(cohort / stage / name for stage in ("ingest", "segment", "a/register", "a/patches")))


def run_script(name, cohort, **fields):
    """Call a script of the workflow as for the participant p0 of a phantom cohort."""
    from _job import make_job

    script = __import__(name)
    inputs = {
        "phantom": cohort / "phantom/p0",
        "volume": cohort / "ingest/p0",
        "transform": cohort / "a/register/p0",
        "landmarks": cohort.parent / "atlases/a/landmarks.json",
        "model": cohort / "a/runs/r/model/SHA256SUMS",
    }
    job = {"input": {key: str(value) for key, value in inputs.items()}, "wildcards": {"id": "p0"}}
    script.main(make_job(job | fields))


def ingest(path):
    listed = {"scan": str(path), "exclude_reason": None}
    run_script(
        "ingest_scan",
        path.parents[2],
        output={"volume": str(path.parents[2] / "again")},
        params={"listed": listed, "settings": {"spacing_mm": 5.0, "axes": "LPS"}},
    )


def cut(path):
    cohort = path.parents[2] / "c"
    settings = {"max_invalid_fraction": 1.0}
    run_script("cut_patches", cohort, output={"patches": str(cohort / "again")}, params={"settings": settings})


def draw(path):
    output = {"png": str(path.with_name("t.png")), "csv": str(path.with_name("t.csv"))}
    run_script("draw_training", path.parents[4], output=output)


def patches(cohort):
    ingested, stored = cohort / "ingest/p0", cohort / "a/patches/p0"
    grid = LandmarkGrid.from_json(read_json(cohort.parent / "atlases/a/landmarks.json"))
    build_bank([stored], ["p0"], cohort / "again.zarr", grid=grid)
    patch_disease(cohort / "phantom/p0", ingested, stored)


def bank(path):
    found = open_bank(path)
    return [found.row(landmark) for landmark in range(len(found.grid))]


def landmark_features(folder):
    store = Store.open(folder / "landmarks.zarr")
    return [store[name][:] for name in ("features", "valid", "landmarks_mm")], store.attribute("participant_ids")


def detectors(run):
    model = load_model(run / "model")
    return [load_detectors(run / "detector", fold, model) for fold in (0, 1)]


ALIGNED = "results/c/a/"
RUN = ALIGNED + "runs/r/"
READERS = {  # file -> what its next reader does with it
    "results/figure3.json": lambda path: read_figure(path.with_suffix(".png")),
    "results/atlases/a/lung_mask.nii.gz": read_image,
    "results/atlases/a/landmarks.json": cut,
    "results/c/participants.tsv": lambda path: validate_participants(whole(path)),
    "results/c/folds.tsv": read_folds,
    "results/c/ingest/p0/ct.nii.gz": lambda path: subject(path).ct,
    "results/c/segment/p0/lungs.nii.gz": lambda path: subject(path).lungs,
    "results/c/phantom/participants.tsv": lambda path: validate_participants(whole(path)),
    "results/c/phantom/boxes.tsv": lambda path: read_boxes(whole(path)),
    "results/c/phantom/p0/ct.nii.gz": ingest,
    "results/c/phantom/p0/(lungs|truth).nii.gz": lambda path: patches(within(path, "c")),
    ALIGNED + "register/p0/atlas_to_subject.mat": lambda path: subject(path).transform,
    ALIGNED + "patches/p0/patches.zarr/.*": lambda path: patches(within(path, "a").parent),
    ALIGNED + "included.tsv": read_included,
    ALIGNED + "exclusions.tsv": lambda path: flow(path.parent),
    ALIGNED + "cohort_flow.json": lambda path: flow(path.parent),
    ALIGNED + "bank.zarr/.*": lambda path: bank(within(path, "a") / "bank.zarr"),
    ALIGNED + "qc/0/subjects.json": lambda path: read_rows(path.parent, path.parents[2] / "qc.html"),
    ALIGNED + "boxes.zarr/.*": lambda path: read_box_patches(within(path, "a") / "boxes.zarr"),
    ALIGNED + "disease/p0/disease.json": lambda path: read_cohort([path.parent]),
    ALIGNED + "disease_probe.json": read_json,
    RUN + "model/(encoder.safetensors|model.json|landmarks.json|lung_mask.nii.gz|SHA256SUMS)": (
        lambda path: load_model(path.parent)
    ),
    RUN + "model/metrics.csv": draw,
    RUN + "features/features.parquet": lambda path: read_features(path.parent),
    RUN + "features/landmarks.zarr/.*": lambda path: landmark_features(within(path, "r") / "features"),
    RUN + "features/record.json": lambda path: provenance_of(path.parent),
    RUN + "eval/.*.json": read_json,
    RUN + "detector/centrilobular/.*": lambda path: detectors(path.parents[2]),
    RUN + "transfer/centrilobular.json": read_json,
    RUN + "dense/p0/centrilobular.nii.gz": lambda path: read_probability(path.parent, "centrilobular"),
    RUN + "dense(-linear)?.json": read_json,
    "results/c/.*/p0/record.json": lambda path: read_record(path.parent),
}


def within(path, name):
    return next(folder for folder in path.parents if folder.name == name)


def flow(aligned):
    atlas = aligned.parents[1] / "atlases/a/landmarks.json"
    return read_flow(aligned / "cohort_flow.json", aligned / "exclusions.tsv", atlas)


def has_checksum(path):
    """Whether every flipped bit is noticed: in binary files, and in text whose checksum is recorded."""
    if path.name in ("disease.json", "model.json") or (path.name, path.parent.name) == ("landmarks.json", "model"):
        return True
    return path.suffix not in (".json", ".tsv", ".csv") and path.name != "SHA256SUMS"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    write_results(root)
    return root


@pytest.fixture(scope="module")
def root(made, tmp_path_factory):
    """A copy in which files are damaged, one at a time, and mended."""
    copy = tmp_path_factory.mktemp("damaged") / "root"
    shutil.copytree(made, copy)
    return copy


def name_of(path, root):
    return path.relative_to(root).as_posix()


def harmed(path, content, harm):
    """Yield the contents that a file may have when it is damaged so."""
    if harm == "emptied":
        yield b""
    elif harm == "cut":
        lines = [found.end() for found in re.finditer(b"\n", content)] if path.suffix == ".tsv" else []
        # The last two bytes of JSON are its end and a line break: without the latter nothing is missing.
        for length in {len(content) // 10, len(content) // 2, len(content) - 2, *lines[:-1]}:
            yield content[:length]
    else:
        for place in np.random.default_rng(0).integers(len(content), size=8):
            yield content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def names_it(path, root, message):
    """Whether a message names a file, or the store or folder it is a part of, below the cohort's."""
    cohort = root / "results/c"
    return any(str(part) in message for part in (path, *path.parents) if part == path or cohort in part.parents)


@pytest.mark.parametrize("harm", ["emptied", "cut", "flipped"])
@pytest.mark.parametrize("pattern", READERS)
def test_damage_is_noticed_named_and_said_how_to_mend(root, pattern, harm):
    files = [path for path in root.rglob("[!.]*") if path.is_file() and re.fullmatch(pattern, name_of(path, root))]
    assert files
    for path in files:
        READERS[pattern](path)
        before, must_tell = path.read_bytes(), harm != "flipped" or has_checksum(path)
        for content in harmed(path, before, harm):
            path.write_bytes(content)
            try:
                READERS[pattern](path)
            except (DamagedError, InputError) as error:
                told = str(error)
                assert names_it(path, root, told) or not must_tell, told
                assert "the same command makes it again" in told or not must_tell, told
            except (KeyError, TypeError, ValueError):
                assert not must_tell
            else:
                harmless = path.suffix == ".gz"  # a bit of gzip's own header, such as its date, decides nothing
                assert not must_tell or (harmless and harm == "flipped"), f"{path} {harm} to {len(content)} bytes"
            finally:
                path.write_bytes(before)


def test_a_landmark_grid_that_is_none_any_more_excludes_nobody(root):
    path = root / "results/atlases/a/landmarks.json"
    before = path.read_bytes()
    shutil.rmtree(root / "results/c/again", ignore_errors=True)
    path.write_text("{}")
    with pytest.raises(InputError, match="the keys must be exactly"):
        cut(path)
    path.write_bytes(before)
    assert not (root / "results/c/again").exists()


def test_every_described_file_is_damaged_or_said_to_be_read_by_nobody(made):
    names = [name_of(path, made) for path in made.rglob("[!.]*") if path.is_file()]
    damaged = [name for name in names if any(re.fullmatch(pattern, name) for pattern in READERS)]
    for described in described_files():
        example = described.pattern.replace("[^/]+", "x").replace(".*", "x").replace("\\", "")
        unread = any(re.fullmatch(pattern, example) for pattern in UNREAD)
        assert unread != any(described.fullmatch(name) for name in damaged), described.pattern
    others = [name for name in names if name not in damaged and "/p1/" not in name and "paraseptal" not in name]
    assert [name for name in others if not any(re.fullmatch(pattern, name) for pattern in UNREAD)] == []
