"""A codebook of local intensity histograms: a subject is how often each word of it occurs.

It resembles the K-Means features of Schabdach et al. (2017) in the paper's Table 2, and is not the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from drasclr_core.base.errors import InputError
from drasclr_core.evaluate.histograms import patch_histograms

if TYPE_CHECKING:
    from drasclr_core.atlas.subject import Subject

FITTED = "per_fold"


@dataclass
class HistogramWords:
    """K-means over the histograms of the training subjects' valid patches.

    Histograms stay in memory once read (L x bins float32 a subject), so that five folds read every patch once.

    Attributes
    ----------
    words : int
        Size of the codebook, at least 2.
    bins : int
        Histogram bins of equal width from -1024 to 240 HU; what lies beyond falls into the outermost.
    max_patches : int
        Upper bound of the patches that the codebook is fitted on, drawn evenly from the training subjects.
    """

    words: int = 64
    bins: int = 32
    max_patches: int = 20_000
    _histograms: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict, repr=False)
    _codebook: KMeans | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        limits = {"words": 2, "bins": 2, "max_patches": self.words}
        faults = [
            f"{name} is {getattr(self, name)}, at least {low}"
            for name, low in limits.items()
            if getattr(self, name) < low
        ]
        if faults:
            raise InputError(f"kmeans has params out of range: {'; '.join(faults)}.")

    def fit(self, train: Sequence["Subject"], seed: int) -> None:
        """Find the words.

        Raises
        ------
        InputError
            If the training subjects have fewer distinct patches than words.
        """
        sample = self._sample(train, np.random.default_rng(seed))
        distinct = len(np.unique(sample, axis=0))
        if distinct < self.words:
            raise InputError(
                f"kmeans.words is {self.words}, but the training subjects have {distinct} distinct patches."
            )
        # Threads add up the centres in the order in which they end: with more than one, runs differ in the last bits.
        with threadpool_limits(limits=1):
            self._codebook = KMeans(self.words, n_init=1, random_state=seed).fit(sample)

    def embed(self, subject: "Subject") -> npt.NDArray[np.float32]:
        """Return the (words,) share of the subject's valid patches that is nearest to each word; the sum is 1.

        Raises
        ------
        InputError
            If the subject has no valid patch.
        """
        if self._codebook is None:
            raise RuntimeError("embed() needs fit() first")
        histograms = self._histograms_of(subject)
        if len(histograms) == 0:
            raise InputError(f"{subject.participant_id} has no valid patch: exclude it.")
        with threadpool_limits(limits=1):
            nearest = self._codebook.predict(histograms.astype(np.float64))
        return (np.bincount(nearest, minlength=self.words) / len(nearest)).astype(np.float32)

    def _sample(self, train: Sequence["Subject"], rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """Return at most `max_patches` histograms, whatever the order of the subjects."""
        ordered = sorted(train, key=lambda subject: subject.participant_id)
        share = max(1, self.max_patches // max(1, len(ordered)))
        chosen: list[npt.NDArray[np.floating]] = [np.empty((0, self.bins))]
        for histograms in map(self._histograms_of, ordered):
            chosen.append(histograms[np.sort(rng.permutation(len(histograms))[:share])])
        return np.concatenate(chosen)[: self.max_patches].astype(np.float64)

    def _histograms_of(self, subject: "Subject") -> npt.NDArray[np.float32]:
        name = subject.participant_id
        if name not in self._histograms:
            # A copy takes its cached patches with it: kept, those of a few hundred subjects would fill the memory.
            reader = replace(subject)
            self._histograms[name] = patch_histograms(np.asarray(reader.patches)[np.asarray(reader.valid)], self.bins)
        return self._histograms[name]


def build(params: Mapping[str, Any]) -> HistogramWords:
    """Return the method; the parameters are the attributes of `HistogramWords`."""
    allowed = ("words", "bins", "max_patches")
    unknown = [name for name in params if name not in allowed]
    if unknown:
        raise InputError(f"kmeans has no parameter {', '.join(unknown)}; it has {', '.join(allowed)}.")
    return HistogramWords(**params)
