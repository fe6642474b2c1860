"""What one row of Table 3 costs for a large cohort: time, peak memory, and the standard error of its concordance.

    python benchmarks/survival.py [SUBJECTS]

Simulated subjects with 128 features, of which one raises the hazard; a third of them die. docs/benchmarks.md holds the
last table.
"""

import resource
import sys
import time

import numpy as np
import pandas as pd

from drasclr_core.cohort.folds import assign_folds
from drasclr_core.evaluate.survival import evaluate_survival

FEATURES, FACTORS = 128, 10


def cohort(subjects: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the participants and their features, which share a few factors."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(subjects, FACTORS)) @ rng.normal(size=(FACTORS, FEATURES))
    features = (shared + rng.normal(size=(subjects, FEATURES))).astype(np.float32)
    death, end = 9000 * rng.exponential(np.exp(-features[:, 0] / 4)), rng.uniform(1500, 4500, subjects)
    ids = [f"s{index:05d}" for index in range(subjects)]
    participants = pd.DataFrame(
        {
            "participant_id": ids,
            "age_years": rng.normal(60, 9, subjects),
            "sex": rng.choice(["F", "M"], subjects),
            "race": rng.choice(["Black", "White"], subjects),
            "smoking_status": rng.choice(["former", "current"], subjects),
            "pack_years": rng.gamma(4, 10, subjects),
            "bode": rng.integers(0, 11, subjects).astype(float),
            "followup_days": np.ceil(np.minimum(death, end)),
            "died": (death <= end).astype(float),
        }
    )
    columns = [f"f{index}" for index in range(FEATURES)]
    return participants, pd.DataFrame(features, columns=columns).assign(participant_id=ids, fold=-1)


def main(subjects: int) -> None:
    """Print a table of two rows: without features, and with them."""
    participants, features = cohort(subjects)
    folds = assign_folds(participants["participant_id"], 5, 0)
    print("| features | deaths | Uno's, 50th percentile | s.e. | seconds | peak MB |\n|---|---|---|---|---|---|")
    for frame in (features[["participant_id", "fold"]], features):
        start = time.perf_counter()
        found = evaluate_survival("bode", participants, frame, folds, run="benchmark", seed=0)
        seconds = time.perf_counter() - start
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        uno = found["summary"]["uno_p50"]
        print(
            f"| {frame.shape[1] - 2} | {found['deaths']} | {uno['mean']:.3f} | {uno['sd']:.4f} | {seconds:.0f} "
            f"| {peak_mb:.0f} |"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
