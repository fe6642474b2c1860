"""What features call alike, and what a probe reads from them: the trained encoder beside the untrained one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from drasclr_core.atlas.bank import Bank, open_bank
from drasclr_core.base.errors import InputError
from drasclr_core.base.stores import Store
from drasclr_core.cohort.folds import read_folds
from drasclr_core.config.figure_specs import FigureSpec
from drasclr_core.evaluate.disease_map import most_diseased_slice
from drasclr_core.evaluate.disease_probe import ProbedPatches, out_of_fold
from drasclr_core.evaluate.metrics import r2
from drasclr_core.evaluate.retrieval import (
    choose_queries,
    mean_difference,
    median_subject,
    nearest_of_others,
    unit_features,
)
from drasclr_core.evaluate.truth import EMPHYSEMA, PatchDisease, read_cohort
from drasclr_core.figures.drawing import Drawing
from drasclr_core.figures.patches import (
    TRAINED,
    UNTRAINED,
    WINDOW_HU,
    DiseaseMap,
    Question,
    ShownPatch,
    draw_neighbours,
)

QUANTILES = (0.1, 0.5, 0.9)
NEAREST = 4
COLUMNS = ("panel", "features", "query", "rank", "participant_id", "landmark", "similarity", "share", "estimate")

Floats = npt.NDArray[np.float64]
Row = dict[str, Any]


@dataclass(frozen=True)
class _Cohort:
    """The N subjects at L landmarks: `features` by name, arrays (N, L, D) on disk; `shares` (N, L), NaN if unknown."""

    bank: Bank
    features: Mapping[str, Any]
    shares: Floats

    def patch(self, subject: int, landmark: int) -> ShownPatch:
        edge = self.bank.grid.patch_size
        hu = np.empty((1, edge, edge, edge), np.int16)
        self.bank.read(landmark, hu, subject)
        right, back, _ = self.bank.grid.direction
        return ShownPatch(hu[0, edge // 2, ::back, ::right], self.shares[subject, landmark])

    def row(self, panel: str, subject: int, landmark: int, **more: Any) -> Row:
        name = self.bank.participant_ids[subject]
        share = self.shares[subject, landmark]
        return {"panel": panel, "participant_id": name, "landmark": landmark, "share": share, **more}


def draw(spec: FigureSpec, paths: Mapping[str, Any], settings: Mapping[str, Any]) -> Drawing:
    """Draw nearest patches of other people and, of phantoms, a map of the disease that a probe reads.

    What is shown is chosen by a rule, not by its looks. The patches asked about: those at the quantiles `QUANTILES` of
    true emphysema among the half with most lung or, where no truth is known, of the list of all patches, subject after
    subject. Beside each its `NEAREST` of other people at the same landmark, by the cosine similarity of features less
    their landmark's mean. The subject of the map: the one of the median share among those with emphysema; its slice:
    the one that holds most.

    Parameters
    ----------
    spec : FigureSpec
        Of the kind patch_neighbours.
    paths : mapping
        `features` and `reference`, features folders of the two runs; `bank`; of phantoms also `folds`, and of all
        participants `disease`, `phantom`, `ingest` and `patches`.
    settings : mapping
        `readout`, `seed`, as of the disease probe.

    Raises
    ------
    InputError
        If the features are not of the subjects of the bank.
    """
    bank = open_bank(paths["bank"])
    runs = {TRAINED: paths["features"], UNTRAINED: paths["reference"]}
    features = {name: _features(path, bank) for name, path in runs.items()}
    disease = read_cohort(paths["disease"]) if "disease" in paths else {}
    cohort = _Cohort(bank, features, _shares(disease, bank))
    usable = np.isfinite(cohort.shares) if disease else bank.valid.T
    asked, rows = _ask(cohort, usable, _order(disease, cohort) if disease else np.where(usable, 0.0, np.nan))
    notes, differences, found = [_what(spec, bool(disease))], {}, None
    if disease:
        differences = _differences(cohort)
        notes.append(_differences_note(cohort, differences))
        subject = median_subject(_mean_shares(cohort.shares))
        if subject is not None:
            estimates = _estimates(cohort, read_folds(paths["folds"]), settings)
            found = _map(cohort, estimates, subject, paths)
            rows += _map_rows(cohort, estimates, subject)
            notes.append(_map_note(cohort, subject, found))
    return Drawing(draw_neighbours(asked, differences, found), pd.DataFrame(rows, columns=list(COLUMNS)), notes)


def _features(folder: str | Path, bank: Bank) -> Any:
    """Return a run's features, (N, L, D), as they lie on disk: of a large cohort few landmarks are read."""
    store = Store.open(Path(folder) / "landmarks.zarr")
    if list(store.attribute("participant_ids")) != bank.participant_ids:
        raise InputError(f"{folder} has features of other participants than the bank: embed the cohort again.")
    return store["features"]


def _shares(disease: Mapping[str, PatchDisease], bank: Bank) -> Floats:
    unknown = np.full(len(bank.grid), np.nan)
    return np.stack([disease[name].fraction(EMPHYSEMA) if disease else unknown for name in bank.participant_ids])


def _order(disease: Mapping[str, PatchDisease], cohort: _Cohort) -> Floats:
    """Return the shares of the half of the patches with most lung, (N, L): the middle of others may hold none."""
    lung = np.stack([disease[name].lung_voxels for name in cohort.bank.participant_ids])
    return np.where(lung >= np.median(lung[np.isfinite(cohort.shares)]), cohort.shares, np.nan)


def _ask(cohort: _Cohort, usable: npt.NDArray[np.bool_], order: Floats) -> tuple[list[Question], list[Row]]:
    """Return the patches at the quantiles of `order`, (N, L), with the nearest usable ones, and the data's rows."""
    asked, rows = [], []
    for number, (subject, landmark) in enumerate(choose_queries(order, QUANTILES), start=1):
        here = usable[:, landmark]
        question = Question(cohort.patch(subject, landmark), {})
        rows.append(cohort.row("neighbours", subject, landmark, query=number, rank=0))
        for name, features in cohort.features.items():
            units = unit_features(features[:, landmark], here)
            found, similarity = nearest_of_others(units, subject, cohort.bank.persons, here, NEAREST)
            question.found[name] = [cohort.patch(int(other), landmark) for other in found]
            rows += [
                cohort.row("neighbours", int(other), landmark, features=name, query=number, rank=rank, similarity=value)
                for rank, (other, value) in enumerate(zip(found, similarity, strict=True), start=1)
            ]
        asked.append(question)
    return asked, rows


def _estimates(cohort: _Cohort, folds: Mapping[str, int], settings: Mapping[str, Any]) -> dict[str, Floats]:
    """Return by features what the disease probe reads of each patch out of fold, (N, L); NaN where nothing is known."""
    measured = np.isfinite(cohort.shares)
    subject, landmark = np.nonzero(measured)
    fold = np.array([folds[name] for name in cohort.bank.participant_ids])[subject]
    patches, truth = ProbedPatches(subject, landmark, fold), cohort.shares[measured][:, None]
    estimates = {}
    for name, features in cohort.features.items():
        inputs = features[:][measured].astype(np.float64)
        estimates[name] = np.full(measured.shape, np.nan)
        predicted, _ = out_of_fold(inputs, truth, patches, settings["readout"], settings["seed"])
        estimates[name][measured] = predicted[:, 0]
    return estimates


def _mean_shares(shares: Floats) -> Floats:
    known = np.isfinite(shares)
    return np.nan_to_num(shares).sum(axis=1) / np.maximum(known.sum(axis=1), 1)


def _map(cohort: _Cohort, estimates: Mapping[str, Floats], subject: int, paths: Mapping[str, Any]) -> DiseaseMap:
    name, shares = cohort.bank.participant_ids[subject], cohort.shares

    def of(stage: str) -> str:
        return next(folder for folder in paths[stage] if Path(folder).name == name)

    measured = np.isfinite(shares)
    scores = {key: r2(shares[measured], values[measured]) for key, values in estimates.items()}
    values = {key: values[subject] for key, values in estimates.items()}
    place = most_diseased_slice(of("phantom"), of("ingest"), of("patches"), measured[subject], EMPHYSEMA)
    return DiseaseMap(place, shares[subject], values, scores)


def _map_rows(cohort: _Cohort, estimates: Mapping[str, Floats], subject: int) -> Iterator[Row]:
    for name, values in estimates.items():
        for landmark in np.flatnonzero(np.isfinite(cohort.shares[subject])):
            yield cohort.row("map", subject, int(landmark), features=name, estimate=values[subject, landmark])


def _what(spec: FigureSpec, is_known: bool) -> str:
    places = ", ".join(f"{quantile:.0%}" for quantile in QUANTILES)
    of = "true emphysema among the half of all patches with most lung"
    if not is_known:
        of = "the list of all patches, for the true disease is known of phantoms alone"
    shares = " Numbers and frames: the truly emphysematous share of the lung in a patch." if is_known else ""
    return (
        f"A row begins with a patch of one person (middle axial slice, window {WINDOW_HU[0]} to {WINDOW_HU[1]} HU), at "
        f"the {places} quantiles of {of}. Beside it the {NEAREST} patches of other people at the same landmark whose "
        "features are nearest, nearest first: of highest cosine similarity, less the landmark's mean. Trained: run "
        f"{spec.run}; untrained: run {spec.reference}.{shares}"
    )


def _differences(cohort: _Cohort) -> dict[str, float]:
    """Return by features how much the share of a patch differs from those of its nearest, over all patches."""
    shares, persons = cohort.shares, cohort.bank.persons
    return {name: mean_difference(values[:], shares, persons, NEAREST) for name, values in cohort.features.items()}


def _differences_note(cohort: _Cohort, near: Mapping[str, float]) -> str:
    shares = cohort.shares
    anybody = mean_difference(cohort.features[TRAINED][:], shares, cohort.bank.persons, len(shares))
    return (
        f"Over all n = {np.isfinite(shares).sum()} patches that hold lung, the share differs from those of the "
        f"{NEAREST} nearest by {100 * near[TRAINED]:.1f} percentage points on average (trained) and by "
        f"{100 * near[UNTRAINED]:.1f} (untrained); from those of everybody else at the landmark by {100 * anybody:.1f}."
    )


def _map_note(cohort: _Cohort, subject: int, found: DiseaseMap) -> str:
    grid = cohort.bank.grid
    return (
        f"Below: participant {cohort.bank.participant_ids[subject]}, of the median share among those with emphysema; "
        f"the coronal slice with most of it (y = {found.place.y_mm:.0f} mm), the patient's right on the left. Each "
        "place of the lungs has the value of the patch whose centre is nearest (edge "
        f"{grid.patch_size * grid.spacing_mm:.0f} mm): its true share, and what the linear probe of the disease, "
        "fitted on other people, reads from its features. R²: over the patches of all people."
    )
