"""Find emphysema voxel by voxel on the phantoms of a finished workflow: detectors side by side on the same windows.

    python benchmarks/detectors.py RESULTS --runs untrained drasclr/seed-1 --out detectors.jsonl
    python benchmarks/detectors.py RESULTS --runs drasclr --trials benchmarks/detector_settings.yaml --out tuned.jsonl

RESULTS holds boxes.zarr and the stages of the cohort `phantom`, as `snakemake` leaves them. Every detector learns from
boxes and healthy patches of the other folds, as in Table 5, and is judged on windows at a sample of lung voxels: of
each subject at most --voxels with either subtype and twice as many others, each weighted by how many it stands for, so
that the AUROC is that of a window at every voxel. Without trials the detectors are linear, on frozen features: of the
plain methods, and of each run read in every way. A trial fine-tunes the runs with other settings.
"""

import argparse
import copy
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import yaml
from side_by_side import print_table
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from drasclr_core.atlas.landmarks import LandmarkGrid
from drasclr_core.atlas.subject import Subject
from drasclr_core.base.files import read_json
from drasclr_core.cohort.boxes import HEALTHY, SUBTYPES
from drasclr_core.cohort.flow import read_included
from drasclr_core.cohort.folds import read_folds
from drasclr_core.config.settings import Features
from drasclr_core.detect.finetune import FinetuneSettings, finetune
from drasclr_core.detect.masks import true_labels
from drasclr_core.detect.masks_linear import lung_windows
from drasclr_core.detect.patches import BoxPatches, read_box_patches
from drasclr_core.detect.scoring import fit_detector
from drasclr_core.detect.windows import BoxGrid, model_values, plain_values
from drasclr_core.model.folder import Model, load_model_to
from drasclr_core.phantom.labels import DISEASES

Floats = npt.NDArray[np.float64]
Values = Callable[[BoxPatches, BoxGrid], npt.NDArray[np.float32]]

CONFIG = Path(__file__).resolve().parents[1] / "config" / "phantom-large.yaml"


@dataclass(frozen=True)
class Voxels:
    """Sampled lung voxels: the window at each, its subject, fold and true label, and how many voxels it stands for."""

    windows: BoxPatches
    folds: npt.NDArray[np.int64]
    labels: npt.NDArray[np.uint8]
    weights: Floats

    def judge(self, subtype: str, score: Floats) -> dict[str, float]:
        """Return the AUROC over all voxels, and the mean of those of the subjects with and without the disease."""
        truth = self.labels == 1 + DISEASES.index(subtype)

        def auroc(chosen: npt.NDArray[np.bool_]) -> float:
            return float(roc_auc_score(truth[chosen], score[chosen], sample_weight=self.weights[chosen]))

        by_subject = [self.windows.participants == name for name in np.unique(self.windows.participants)]
        mixed = [chosen for chosen in by_subject if 0 < truth[chosen].mean() < 1]
        everybody = np.ones(len(truth), bool)
        return {"pooled": auroc(everybody), "mean": float(np.mean([auroc(chosen) for chosen in mixed]))}


def sample(results: Path, atlas: str, count: int) -> Voxels:
    """Sample voxels of every included subject."""
    grid = LandmarkGrid.from_json(read_json(results / "atlases" / atlas / "landmarks.json"))
    place, parts, labels, weights = results / "phantom", [], [], []
    rng = np.random.default_rng(0)
    for name in sorted(read_included(place / atlas / "included.tsv")):
        subject = Subject(name, place / "ingest" / name, place / "segment" / name, place / atlas / "register" / name)
        lungs = sitk.GetArrayViewFromImage(subject.lungs) > 0
        places = np.argwhere(lungs)
        truth = true_labels(place / "phantom" / name / "truth.nii.gz", subject.ct)[lungs]
        either = [truth == 1 + DISEASES.index(subtype) for subtype in SUBTYPES]
        for kind, most in zip((*either, ~(either[0] | either[1])), (count, count, 2 * count), strict=True):
            taken = rng.permutation(np.flatnonzero(kind))[:most]
            if len(taken):
                parts.extend(lung_windows(subject, grid, places[taken]))
                labels.append(truth[taken])
                weights.append(np.full(len(taken), kind.sum() / len(taken)))
    arrays = [field.name for field in dataclasses.fields(BoxPatches) if field.name != "left_out"]
    together = {name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
    windows = BoxPatches(**together)
    folds = read_folds(place / "folds.tsv")
    fold_of = np.array([folds[name] for name in windows.participants])
    return Voxels(windows, fold_of, np.concatenate(labels), np.concatenate(weights))


def chosen_patches(patches: BoxPatches, subtype: str, negatives: str) -> BoxPatches:
    """Return what a detector learns from: as in Table 5 ("healthy"), or also the boxes of the other subtype ("all")."""
    chosen = patches.detection(subtype)
    if negatives == "all":
        chosen = np.concatenate([chosen, np.flatnonzero(~np.isin(patches.subtypes, [subtype, HEALTHY]))])
    return patches.take(chosen)


def linear(values: Values, patches: BoxPatches, voxels: Voxels) -> dict[str, Any]:
    """Return the AUROC of logistic regressions on frozen features."""
    seen, asked = values(patches, BoxGrid.centre(patches))[:, 0], values(voxels.windows, BoxGrid.centre(voxels.windows))
    found = {}
    for subtype in SUBTYPES:
        score, chosen = np.empty(len(voxels.labels)), patches.detection(subtype)
        for fold in np.unique(patches.folds):
            train, test = chosen[patches.folds[chosen] != fold], voxels.folds == fold
            labels, persons = patches.subtypes[train] == subtype, patches.persons[train]
            model, *_ = fit_detector(seen[train], labels, persons, readout="penalised", seed=0)
            score[test] = model.predict_proba(asked[test, 0].astype(np.float64))[:, 1]
        found[subtype] = voxels.judge(subtype, score)
    return found


def finetuned(model: Model, trial: dict[str, Any], patches: BoxPatches, voxels: Voxels) -> dict[str, Any]:
    """Return the AUROC of fine-tuned detectors; a trial changes the section `detection`, or their `negatives`."""
    asked = {"negatives": "healthy", **yaml.safe_load(CONFIG.read_text())["detection"], **trial}
    settings = {name: asked[name] for name in ("steps", "batch_size", "learning_rate", "momentum", "weight_decay")}
    found = {}
    for subtype in SUBTYPES:
        score, chosen = np.empty(len(voxels.labels)), chosen_patches(patches, subtype, asked["negatives"])
        for fold in np.unique(patches.folds):
            tuned = Model(copy.deepcopy(model.encoder), model.grid, model.description)
            tuned.encoder.features = asked["features"]
            train, test = chosen.take(chosen.folds != fold), voxels.windows.take(voxels.folds == fold)
            own = FinetuneSettings(**settings, shift_vox=asked["shift"], seed=int(fold))
            head = finetune(tuned.encoder, train, train.subtypes == subtype, own)
            score[voxels.folds == fold] = model_values(tuned, test, BoxGrid.centre(test), head=head)[:, 0, 0]
        found[subtype] = voxels.judge(subtype, score)
    return found


def with_location(patches: BoxPatches, windows: BoxGrid) -> npt.NDArray[np.float32]:
    """Return the three-scale histogram of each window and where the window is, (M, K, C)."""
    parts = [plain_values("histogram", patches, windows, scales=3), plain_values("no_image", patches, windows)]
    return np.concatenate(parts, axis=-1)


def detectors(told: argparse.Namespace, trials: dict[str, Any]) -> Iterator[tuple[str, Callable[..., dict[str, Any]]]]:
    """Yield the name of each detector and what makes it of patches and voxels."""
    if not trials:
        yield "location", partial(linear, partial(plain_values, "no_image"))
        yield "low attenuation", partial(linear, partial(plain_values, "laa950"))
        yield "histogram3 and location", partial(linear, with_location)
    for run in told.runs:
        folder = told.results / "phantom" / told.atlas / "runs" / run / "model"
        for features in () if trials else get_args(Features):
            model = load_model_to(folder, "cpu", 1, features)
            yield f"{run}, linear, {features}", partial(linear, partial(model_values, model))
        for name, trial in trials.items():
            yield f"{run}, {name}", partial(finetuned, load_model_to(folder, "cpu", 1), trial)


def main() -> None:
    """Do what the file lacks, line by line; print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--runs", nargs="+", required=True, help="trainings of the workflow, as under runs/")
    parser.add_argument("--trials", type=Path, help="YAML: name -> what it changes of the fine-tuning")
    parser.add_argument("--only", nargs="*", help="these trials alone")
    parser.add_argument("--atlas", default="healthy")
    parser.add_argument("--voxels", type=int, default=30)
    parser.add_argument("--out", type=Path, required=True)
    told = parser.parse_args()
    kept = [json.loads(line) for line in told.out.read_text().splitlines()] if told.out.exists() else []
    trials = yaml.safe_load(told.trials.read_text()) if told.trials else {}
    trials = {name: trial or {} for name, trial in trials.items() if not told.only or name in told.only}
    patches = read_box_patches(told.results / "phantom" / told.atlas / "boxes.zarr")
    voxels = sample(told.results, told.atlas, told.voxels)
    with told.out.open("a") as out, threadpool_limits(1):
        for name, detect in detectors(told, trials):
            if name in {line["detector"] for line in kept}:
                continue
            begin = time.process_time()
            line = {"detector": name, "voxels": len(voxels.labels), "auroc": detect(patches, voxels)}
            kept.append({**line, "cpu_minutes": round((time.process_time() - begin) / 60, 1)})
            out.write(json.dumps(kept[-1]) + "\n")
            out.flush()
            print(json.dumps(kept[-1]), flush=True)
    figures = [
        [f"{line['auroc'][subtype][kind]:.3f}" for subtype in SUBTYPES for kind in ("pooled", "mean")] for line in kept
    ]
    header = ["detector", *(f"{subtype}, {kind}" for subtype in SUBTYPES for kind in ("pooled", "mean")), "CPU-min"]
    print_table(
        header, [[line["detector"], *each, str(line["cpu_minutes"])] for line, each in zip(kept, figures, strict=True)]
    )


if __name__ == "__main__":
    main()
