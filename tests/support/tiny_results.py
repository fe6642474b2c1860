"""Every kind of file of docs/file_formats.md that something reads, written by the product on arrays of a few voxels."""

import sys

import numpy as np
import pandas as pd
import SimpleITK as sitk
import torch
from box_cohort import box_cohort
from scan_model import PROVENANCE
from toy_bank import toy_bank, toy_grid
from workflow_run import ROOT

from drasclr_core.atlas.bank import build_bank
from drasclr_core.atlas.patches import write_patches
from drasclr_core.atlas.registration import Registration, write_transform
from drasclr_core.base.files import run_subject_stage, write_json
from drasclr_core.cohort.flow import check_exclusions, collect_subjects
from drasclr_core.cohort.folds import write_folds
from drasclr_core.cohort.table import write_boxes, write_participants
from drasclr_core.config.settings import PretrainSettings
from drasclr_core.detect.finetune import FinetuneSettings
from drasclr_core.detect.finetuned import evaluate_finetuned
from drasclr_core.detect.patches import write_box_patches
from drasclr_core.evaluate.truth import measure_disease
from drasclr_core.model.embed_bank import embed_to_folder
from drasclr_core.model.folder import load_model, save_model
from drasclr_core.qc.rows import SubjectRow, write_rows
from drasclr_core.scan.images import write_image
from drasclr_core.train.loop import initial_encoder
from drasclr_core.train.telemetry import COLUMNS

sys.path.insert(0, str(ROOT / "workflow_scripts"))

IDS = ["p0", "p1"]
EDGE = 40


def image_of(array):
    image = sitk.GetImageFromArray(array)
    image.SetOrigin((-7.0, -7.0, -7.0))
    return image


def write_results(root):
    """Write `results` of the cohort `c`, the atlas `a` and the run `r` into a folder; return the folder of the run."""
    torch.set_num_threads(1)
    results = root / "results"
    cohort, atlas = results / "c", results / "atlases/a"
    aligned, grid = cohort / "a", toy_grid()
    run = aligned / "runs/r"
    write_image(image_of(np.ones((EDGE,) * 3, np.uint8)), _made(atlas / "lung_mask.nii.gz"))
    write_json(atlas / "landmarks.json", grid.to_json())
    for number, name in enumerate(IDS):
        _write_subject(cohort, aligned, name, number, grid)
    _write_tables(cohort, aligned)
    folders = [aligned / "patches" / name for name in IDS]
    build_bank(folders, IDS, aligned / "bank.zarr", grid=grid)
    write_box_patches(aligned / "boxes.zarr", box_cohort(subjects=4, each=1, folds=2))
    write_rows(_made(aligned / "qc/0/subjects.json").parent, [SubjectRow(name) for name in IDS])
    write_json(aligned / "disease_probe.json", {"rows": [], "targets": {}, "over_trainings": {}})
    _write_run(run, aligned, grid, atlas / "lung_mask.nii.gz")
    write_json(results / "figure3.json", {"title": "A figure", "notes": ["A note."], "drawn": True})
    (results / "figure3.png").write_bytes(bytes(64))
    for folder in (aligned / "bank.zarr", aligned / "boxes.zarr", run / "features", aligned / "patches/p0"):
        (folder / ".snakemake_timestamp").touch()  # as Snakemake does in every folder that is an output
    return run


def _made(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_subject(cohort, aligned, name, number, grid):
    rng = np.random.default_rng(number)
    labels = rng.integers(0, 3, (EDGE,) * 3).astype(np.uint8)
    images = {
        "ct": image_of(rng.integers(-1000, 100, (EDGE,) * 3).astype(np.int16)),
        "lungs": image_of(labels),
        "truth": image_of(labels),
    }

    def with_images(*names):
        def work(folder):
            for image in names:
                write_image(images[image], folder / f"{image}.nii.gz")
            return {}

        return work

    def register(folder):
        affine = sitk.AffineTransform(3)
        affine.SetTranslation((0.25, 0.5, 0.75))
        write_transform(Registration(affine, {}), folder / "atlas_to_subject.mat")
        return {}

    def patches(folder):
        starts = np.arange(3 * len(grid)).reshape(-1, 3)
        hu = toy_bank(subjects=2).hu[:, number]
        write_patches(folder / "patches.zarr", hu, starts, np.ones(len(grid), bool))
        return {}

    stages = {
        cohort / "phantom": ("simulate", with_images("ct", "lungs", "truth")),
        cohort / "ingest": ("ingest", with_images("ct")),
        cohort / "segment": ("segment", with_images("lungs")),
        aligned / "register": ("register", register),
        aligned / "patches": ("patches", patches),
        aligned / "disease": ("disease", lambda folder: _measure(cohort, aligned, name, folder)),
        aligned / "runs/r/dense": ("dense", lambda folder: _mask(images["truth"], folder)),
    }
    for place, (stage, work) in stages.items():
        run_subject_stage(place / name, stage, name, [], work)


def _measure(cohort, aligned, name, folder):
    return measure_disease(cohort / "phantom" / name, cohort / "ingest" / name, aligned / "patches" / name, folder)


def _mask(image, folder):
    write_image(image, folder / "centrilobular.nii.gz")
    known = {"fraction": 0.5, "features": "last"}
    return {"fold": 0, "centrilobular": known, "paraseptal": {"reason": "no detector"}}


def _write_tables(cohort, aligned):
    import check_participants
    from _job import make_job

    rows = [{"participant_id": name, "image": f"{name}/ct.nii.gz", "gold": number} for number, name in enumerate(IDS)]
    write_participants(rows, cohort / "phantom/participants.tsv")
    box = {"subtype": "centrilobular", "x_mm": 1.0, "y_mm": 2.0, "z_mm": 3.0}
    write_boxes([{"participant_id": name, **box} for name in IDS], cohort / "phantom/boxes.tsv")
    given, checked = str(cohort / "phantom/participants.tsv"), str(cohort / "participants.tsv")
    job = {"input": {"table": given}, "output": {"table": checked}, "params": {"source": {"phantom": True}}}
    check_participants.main(make_job(job))
    write_folds({name: number for number, name in enumerate(IDS)}, cohort / "folds.tsv")
    tables = aligned / "included.tsv", aligned / "exclusions.tsv"
    collect_subjects([aligned / "patches" / name for name in IDS], *tables)
    write_json(aligned / "cohort_flow.json", check_exclusions(*tables, 0.5))


def _write_run(run, aligned, grid, mask):
    settings = PretrainSettings(epochs=0, feature_dim=8, num_experts=2)
    (run / "model").mkdir(parents=True)
    save_model(run / "model", initial_encoder(settings).eval(), grid, settings, PROVENANCE, mask)
    rows = [dict.fromkeys(COLUMNS, 0.5) | {"step": step} for step in range(1, 6)]
    pd.DataFrame(rows).to_csv(run / "model/metrics.csv", index=False)
    embed_to_folder(aligned / "bank.zarr", run / "model", run / "features", features="last", threads=1)
    for name in ("gold", "survival-imaging", "centrilobular_detection-linear", "centrilobular_location-patch_location"):
        write_json(run / f"eval/{name}.json", {"task": name, "folds": []})
    settings = FinetuneSettings(1, 4, 0.01, 0.9, 0.0, 1, 0)
    patches = box_cohort(subjects=4, each=1, folds=2)
    told = {"run": "r", "seed": 0, "fold_count": 2}
    evaluate_finetuned(load_model(run / "model"), patches, settings, run / "detector", stride=4, block=2, **told)
    write_json(run / "transfer/centrilobular.json", {"subtype": "centrilobular", "points": []})
    for name in ("dense", "dense-linear"):
        write_json(run / f"{name}.json", {"subjects": [], "notes": []})
