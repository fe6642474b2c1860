"""A cohort of boxes whose disease can be seen: dark patches against brighter ones, several of each subject."""

import numpy as np

from drasclr_core.detect.patches import BoxPatches

BOX = 5
EDGE = BOX + 31


def box_cohort(subjects=10, each=3, contrast_hu=150, folds=5, seed=0):
    """Return patches, boxes of the subjects of even number and healthy ones of the others, dealt into the folds."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(subjects), each)
    sick = owner % 2 == 0
    order = np.argsort(~sick, kind="stable")
    owner, sick = owner[order], sick[order]
    count = len(owner)
    hu = rng.normal(-850, 30, (count, EDGE, EDGE, EDGE)) - contrast_hu * sick[:, None, None, None]
    names = np.array([f"s{number:02d}" for number in owner])
    return BoxPatches(
        hu=hu.astype(np.int16),
        lungs=np.ones(hu.shape, np.uint8),
        codes=rng.uniform(-1, 1, (count, 3)),
        code_steps=rng.normal(0, 0.01, (count, 3, 3)),
        centres_mm=rng.normal(0, 50, (count, 3)),
        folds=(owner // 2 % folds).astype(np.int64),
        participants=names,
        persons=names,
        subtypes=np.where(sick, "centrilobular", "healthy"),
    )
