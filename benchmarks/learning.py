"""Train settings side by side on the phantoms of a finished workflow, and read the true disease from each.

    python benchmarks/learning.py RESULTS --trials benchmarks/learning_settings.yaml --out trials.jsonl
    python benchmarks/learning.py RESULTS --trained drasclr drasclr/seed-1 --out trained.jsonl

RESULTS holds banks and true disease of the cohorts `phantom` and `unseen`, as `snakemake results/known_truth.csv`
leaves them. The probe is the workflow's (`disease_probe`): by folds of subjects, and fitted on scans of one
reconstruction kernel (with --every also of one dose) and judged on those of the other. A training is one line of JSON,
and is not done again while the line stands in the file. Histograms of the patches, without any training, come first.
"""

import argparse
import dataclasses
import itertools
import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import yaml
from side_by_side import InMemory, print_table
from threadpoolctl import threadpool_limits

from drasclr_core.atlas.bank import Bank, open_bank
from drasclr_core.cohort.folds import read_folds
from drasclr_core.cohort.phantom_ids import phantom_index
from drasclr_core.config.recipes import RECIPES
from drasclr_core.config.settings import PretrainSettings
from drasclr_core.evaluate.bootstrap import SubjectSums, pooled_r2, sum_by_subject
from drasclr_core.evaluate.disease_probe import ProbedPatches, out_of_fold
from drasclr_core.evaluate.disease_rows import bank_histograms, read_landmark_features
from drasclr_core.evaluate.truth import EMPHYSEMA, TARGETS, read_cohort
from drasclr_core.model.embed_bank import embed_bank
from drasclr_core.model.encoder import Encoder
from drasclr_core.phantom.labels import draw_traits, random_stream
from drasclr_core.train.loop import initial_encoder, pretrain

SEEN, UNSEEN = "phantom", "unseen"
SUBJECTS, KERNEL, DOSE = "subjects", "kernel", "dose"
LAST = 128  # the first numbers of the pooled features are h


@dataclass(frozen=True)
class Cohort:
    """What the probe needs of a cohort: its bank, each patch's truth and place, and folds by each of the splits."""

    bank: Bank
    truth: dict[str, npt.NDArray[np.float64]]
    measured: npt.NDArray[np.bool_]
    splits: dict[str, ProbedPatches]

    def r2(self, features: npt.NDArray[np.float32], every: bool) -> dict[str, dict[str, float]]:
        """Return split -> disease -> R2 out of fold of features (N, L, D): any emphysema, or `every` disease."""
        inputs = features[self.measured].astype(np.float64)
        found: dict[str, dict[str, float]] = {}
        for split in self.splits if every else (SUBJECTS, KERNEL):
            patches, targets = self.splits[split], TARGETS if every else (EMPHYSEMA,)
            truths = np.stack([self.truth[target] for target in targets], axis=1)
            predictions, _ = out_of_fold(inputs, truths, patches, "penalised", 0)
            found[split] = {}
            for target, truth, prediction in zip(targets, truths.T, predictions.T, strict=True):
                errors = sum_by_subject((truth - prediction) ** 2, patches.subject, len(self.measured))
                sums = SubjectSums.of(truth, patches.subject, len(self.measured))
                value = pooled_r2(errors, sums, np.ones((1, len(self.measured)), np.int64))[0]
                found[split][target] = round(float(value), 4)
        return found


@cache
def read(results: Path, name: str, atlas: str, seed: int, subjects: int | None = None) -> Cohort:
    """Return a cohort of a finished workflow, or its first subjects."""
    folder = results / name / atlas
    bank = open_bank(folder / "bank.zarr")
    ids = bank.participant_ids[:subjects]
    patches = np.stack([bank.row(landmark)[: len(ids)] for landmark in range(len(bank.grid))]).view(InMemory)
    valid, persons = bank.valid[:, : len(ids)], bank.persons[: len(ids)]
    bank = dataclasses.replace(bank, hu=patches, valid=valid, persons=persons, participant_ids=ids)  # type: ignore[arg-type]
    disease = read_cohort(sorted((folder / "disease").iterdir()))
    measured = np.stack([disease[each].measured for each in ids])
    subject, landmark = np.nonzero(measured)
    traits = [draw_traits(phantom_index(i), seed, random_stream(seed, phantom_index(i), "traits")) for i in ids]
    folds = read_folds(results / name / "folds.tsv")
    by = {
        SUBJECTS: [folds[each] for each in ids],
        KERNEL: [int(each.sharp_kernel) for each in traits],
        DOSE: [int(each.low_dose) for each in traits],
    }
    splits = {split: ProbedPatches(subject, landmark, np.array(values)[subject]) for split, values in by.items()}
    truth = {
        target: np.concatenate([disease[each].fraction(target)[disease[each].measured] for each in ids])
        for target in TARGETS
    }
    return Cohort(bank, truth, measured, splits)


def embed(bank: Bank, encoder: Encoder) -> npt.NDArray[np.float32]:
    """Return the pooled features of a bank, (N, L, D)."""
    encoder.eval().features = "pooled"
    return np.stack(list(embed_bank(bank, encoder)), axis=1)


def read_both(cohort: Cohort, pooled: npt.NDArray[np.float32], every: bool) -> dict[str, Any]:
    """Return what h alone and the pooled features tell."""
    return {"last": cohort.r2(pooled[..., :LAST], every), "pooled": cohort.r2(pooled, every)}


def settings_of(trial: dict[str, Any], seed: int) -> PretrainSettings:
    """Return the recipe `small` with what a trial changes, on one thread."""
    recipe = RECIPES[trial.get("recipe", "small")]
    changed = {name: value for name, value in trial.items() if name not in ("recipe", "subjects")}
    return PretrainSettings(**{**recipe, **changed, "seed": seed, "cpu_threads": 1, "checkpoint_minutes": 600.0})


def train(
    results: Path, atlas: str, cohort_seed: int, every: bool, name: str, trial: dict[str, Any], seed: int
) -> dict[str, Any]:
    """Train once, and judge the encoder on the subjects that it saw and on those that it did not."""
    torch.set_num_threads(1)
    seen = read(results, SEEN, atlas, cohort_seed, trial.get("subjects"))
    settings = settings_of(trial, seed)
    told: dict[str, Any] = {"steps": 0, "cpu_minutes": 0.0}
    if settings.epochs:
        with tempfile.TemporaryDirectory() as work:
            begin = time.process_time()
            trained = pretrain(seen.bank, settings, Path(work))
            assert trained is not None
            encoder = trained[0]
            metrics = pd.read_csv(Path(work) / "metrics.csv")
            told = {"steps": int(metrics.step.iloc[-1]), "cpu_minutes": round((time.process_time() - begin) / 60, 2)}
            for column in ("uniformity", "effective_rank", "top1_fresh"):
                told[column] = round(float(metrics[column].iloc[-3:].mean()), 3)
    else:
        encoder = initial_encoder(settings)
    unseen = read(results, UNSEEN, atlas, cohort_seed)
    cohorts = {SEEN: seen, UNSEEN: unseen}
    found = {each: read_both(cohort, embed(cohort.bank, encoder), every) for each, cohort in cohorts.items()}
    return {"trial": name, "seed": seed, **told, "subjects": len(seen.bank.participant_ids), "r2": found}


def judge(results: Path, atlas: str, cohort_seed: int, every: bool, training: str) -> dict[str, Any]:
    """Judge the features of a training that the workflow has made."""
    found = {}
    for name in (SEEN, UNSEEN):
        cohort = read(results, name, atlas, cohort_seed)
        content = read_landmark_features(results / name / atlas / "runs" / training / "features")
        assert list(content.participant_ids) == cohort.bank.participant_ids
        found[name] = read_both(cohort, content.features, every)
    model = results / SEEN / atlas / "runs" / training / "model"
    metrics, described = pd.read_csv(model / "metrics.csv"), json.loads((model / "model.json").read_text())
    steps = int(metrics.step.iloc[-1]) if len(metrics) else 0
    told = {"seed": described["training"]["seed"], "steps": steps, "subjects": len(described["participant_ids"])}
    return {"trial": training, **told, "r2": found}


def histograms(results: Path, atlas: str, cohort_seed: int, every: bool) -> Iterator[dict[str, Any]]:
    """Yield what the histograms tell to the same probe."""
    cohorts = {name: read(results, name, atlas, cohort_seed) for name in (SEEN, UNSEEN)}
    made = {name: bank_histograms(cohort.bank) for name, cohort in cohorts.items()}
    for histogram in made[SEEN]:
        found = {name: {"last": cohorts[name].r2(each[histogram].features, every)} for name, each in made.items()}
        yield {"trial": histogram, "seed": None, "r2": found}


def rows(lines: Iterable[dict[str, Any]]) -> Iterator[list[str]]:
    """Yield a table's row for each line."""
    for line in lines:
        cells = [
            f"{line['r2'][cohort][features][SUBJECTS][EMPHYSEMA]:.3f}" if features in line["r2"][cohort] else ""
            for cohort, features in itertools.product((SEEN, UNSEEN), ("last", "pooled"))
        ]
        told = [f"{line[key]}" if key in line else "" for key in ("subjects", "steps", "cpu_minutes", "effective_rank")]
        yield [line["trial"], "" if line["seed"] is None else str(line["seed"]), *told, *cells]


def main() -> None:
    """Do what the file lacks, line by line; print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--trials", type=Path, help="YAML: name -> what it changes of the recipe `small`")
    parser.add_argument("--only", nargs="*", help="these trials alone")
    parser.add_argument("--trained", nargs="*", default=[], help="trainings of the workflow, as under runs/")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--atlas", default="healthy")
    parser.add_argument("--cohort-seed", type=int, default=0)
    parser.add_argument("--every", action="store_true", help="every disease, and by dose too")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    told = parser.parse_args()
    kept = [json.loads(line) for line in told.out.read_text().splitlines()] if told.out.exists() else []
    done = {(line["trial"], line["seed"]) for line in kept}
    trials = yaml.safe_load(told.trials.read_text()) if told.trials else {}
    wanted = [
        (name, trial, seed)
        for seed in told.seeds
        for name, trial in trials.items()
        if (name, seed) not in done and (not told.only or name in told.only)
    ]
    where = (told.results, told.atlas, told.cohort_seed, told.every)
    pool = ProcessPoolExecutor(told.jobs, initializer=threadpool_limits, initargs=(1,))
    with told.out.open("a") as out, pool:

        def keep(line: dict[str, Any]) -> None:
            out.write(json.dumps(line) + "\n")
            out.flush()
            kept.append(line)
            print(*next(iter(rows([line]))), flush=True)

        if ("histogram", None) not in done:
            for line in histograms(*where):
                keep(line)
        for name in told.trained:
            if name not in {trial for trial, _ in done}:
                keep(judge(*where, name))
        futures = [pool.submit(train, *where, *each) for each in wanted]
        for future in as_completed(futures):
            keep(future.result())
    header = ["trial", "seed", "subjects", "steps", "CPU-min", "rank"]
    header += ["h, seen", "pooled, seen", "h, unseen", "pooled, unseen"]
    print_table(header, list(rows(sorted(kept, key=lambda line: (line["trial"], line["seed"] or 0)))))


if __name__ == "__main__":
    main()
