"""Participants whose labels their features carry."""

import numpy as np
import pandas as pd

from drasclr_core.cohort.folds import assign_folds


def ids_of(count):
    return [f"s{number:03d}" for number in range(count)]


def features_frame(values, fold=-1):
    frame = pd.DataFrame(np.asarray(values, dtype=np.float32), columns=[f"f{i}" for i in range(np.shape(values)[1])])
    frame.insert(0, "fold", fold)
    frame.insert(0, "participant_id", ids_of(len(frame)))
    return frame


def cohort(count=60, dimensions=3, seed=0):
    """Return participants, features and folds in which the features carry every label, with noise."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, dimensions)).astype(np.float32)
    burden = values[:, 0] + 0.3 * rng.normal(size=count)
    grade = np.digitize(burden, [-0.8, -0.2, 0.4, 1.0])
    participants = pd.DataFrame(
        {
            "participant_id": ids_of(count),
            "fev1pp": 80 * np.exp(-0.3 * burden),
            "fev1_fvc": 0.7 * np.exp(-0.05 * burden),
            "gold": grade.astype(float),
            "cle": np.digitize(burden, [-0.5, 0, 0.5, 1.0, 1.5]).astype(float),
            "paraseptal": np.digitize(burden, [0, 0.8]).astype(float),
            "exacerbations": np.maximum(np.digitize(burden, [0.2, 1.0, 1.5]), 0).astype(float),
            "covid_grade": grade.astype(float),
        }
    )
    return participants, features_frame(values), assign_folds(ids_of(count), 5, seed=0)
