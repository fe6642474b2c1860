"""Where subjects lie to one another in a run's features, and which landmarks tell of a label."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler

from drasclr_core.base.errors import InputError
from drasclr_core.config.tasks import TASKS
from drasclr_core.evaluate.probes import ALL_FOLDS, Readout, evaluate_task

logger = logging.getLogger(__name__)

PERPLEXITY = 30.0
COMPONENTS = 50
"""Principal components that t-SNE starts from: more of them are noise to its distances."""

MIN_SUBJECTS = 5


def map_subjects(features: npt.NDArray[np.floating], seed: int) -> tuple[pd.DataFrame, npt.NDArray[np.float64]]:
    """Return the places of the subjects in two projections of their standardised features.

    Parameters
    ----------
    features : (N, D) array
        One row per subject, N >= 5.
    seed : int
        Of t-SNE; the principal components need none.

    Returns
    -------
    places : (N, 4) DataFrame
        Columns pca_1, pca_2, tsne_1, tsne_2, in the order of the rows of `features`.
    explained : (2,) array
        Shares of the variance that the two principal components hold, 0..1.

    Raises
    ------
    InputError
        With fewer than five subjects.
    """
    count = len(features)
    if count < MIN_SUBJECTS:
        raise InputError(f"{count} subjects are too few for an embedding map: {MIN_SUBJECTS} are needed.")
    standard = StandardScaler().fit_transform(np.asarray(features, dtype=np.float64))
    pca = PCA(n_components=min(COMPONENTS, *standard.shape), svd_solver="full")
    components, explained = pca.fit_transform(standard), pca.explained_variance_ratio_
    if components.shape[1] == 1:  # of a single feature: two axes are drawn
        components, explained = np.pad(components, ((0, 0), (0, 1))), np.append(explained, 0.0)
    perplexity = min(PERPLEXITY, (count - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(components)
    places = np.hstack([components[:, :2], tsne])
    return pd.DataFrame(places, columns=["pca_1", "pca_2", "tsne_1", "tsne_2"]), explained[:2]


def landmark_importance(
    task: str,
    participants: pd.DataFrame,
    features: npt.NDArray[np.floating],
    valid: npt.NDArray[np.bool_],
    participant_ids: Sequence[str],
    folds: Mapping[str, int],
    *,
    readout: Readout,
    seed: int,
) -> pd.DataFrame:
    """Predict a label from each landmark's own features, and judge the predictions.

    Parameters
    ----------
    task : str
        One of `drasclr_core.config.tasks.TASKS`.
    participants : DataFrame
        The validated participants table.
    features : (N, L, D) array
        Of each subject at each landmark.
    valid : (N, L) bool array
        Whether the patch lies inside the subject's volume; others are left out at that landmark.
    participant_ids : sequence of N str
        The subjects of `features`.
    folds : mapping
        Participant id -> fold, as for every evaluation.
    readout : {"plain", "penalised"}
        As of `drasclr_core.evaluate.probes.evaluate_task`.
    seed : int
        Of the inner folds that choose a penalty.

    Returns
    -------
    DataFrame
        One row per landmark: task, metric (the task's first), landmark, score and its standard deviation over the
        folds (NaN where the task cannot be evaluated), and n subjects.
    """
    metric = TASKS[task].metrics[0]
    ids = np.asarray(participant_ids)
    rows = []
    for landmark in range(features.shape[1]):
        usable = valid[:, landmark]
        if not usable.any():
            rows.append((task, metric, landmark, np.nan, np.nan, 0))
            continue
        frame = pd.DataFrame(features[usable, landmark]).add_prefix("f")
        frame.insert(0, "fold", ALL_FOLDS)
        frame.insert(0, "participant_id", ids[usable])
        result = evaluate_task(task, participants, frame, folds, run="", readout=readout, seed=seed)
        summary = result["summary"][metric]
        rows.append((task, metric, landmark, summary["mean"], summary["sd"], result["n"]))
        logger.info("%s: landmark %d of %d", task, landmark + 1, features.shape[1])
    scores = pd.DataFrame(rows, columns=["task", "metric", "landmark", "score", "score_sd", "n"])
    return scores.astype({"score": np.float64, "score_sd": np.float64})
