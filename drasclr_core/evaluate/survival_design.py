"""The columns of a Cox model of survival: confounders, clinical columns, and components of a run's features.

All that is learnt from data - levels of a category, means, principal components - comes from the training subjects.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from drasclr_core.evaluate.concordance import Outcome

CONFOUNDERS = ("age_years", "sex", "race", "smoking_status", "pack_years")
CATEGORIES = ("sex", "race", "smoking_status")

MAX_COMPONENTS = 32
_NO_SPREAD = 1e-4  # of a component, as a share of the first one's: rounding of float32 features


@dataclass(frozen=True)
class Sample:
    """What is known of n subjects.

    Attributes
    ----------
    covariates : (n, C) DataFrame
        Complete columns of the participants table, some of `CONFOUNDERS` and clinical ones.
    features : (n, F) float64 array
        Of a run; F may be 0.
    outcome : Outcome
        What became of them.
    persons : (n,) int64 array
        Who they are: scans of one person have one number.
    """

    covariates: pd.DataFrame
    features: npt.NDArray[np.float64]
    outcome: Outcome
    persons: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.covariates)

    def of(self, chosen: npt.NDArray[np.bool_]) -> "Sample":
        """Return the chosen subjects."""
        return Sample(self.covariates[chosen], self.features[chosen], self.outcome.of(chosen), self.persons[chosen])

    def confounders(self) -> "Sample":
        """Return the same subjects with nothing but the confounders."""
        names = [name for name in self.covariates if name in CONFOUNDERS]
        return Sample(self.covariates[names], self.features[:, :0], self.outcome, self.persons)


@dataclass(frozen=True)
class Penalties:
    """Ridge penalties of a model: of the confounders, and of the clinical columns and the first component.

    The second is None where there is nothing but confounders.
    """

    confounders: float
    others: float | None = None


@dataclass(frozen=True)
class Components:
    """Standardisation of the features and their leading principal components, of training subjects."""

    mean: npt.NDArray[np.float64]
    loadings: npt.NDArray[np.float64]
    spreads: npt.NDArray[np.float64]

    def of(self, features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the (n, K) scores of (n, F) features."""
        return (features - self.mean) @ self.loadings


@dataclass(frozen=True)
class Design:
    """The columns of a Cox model, each with mean 0 and variance 1 in the training subjects.

    Attributes
    ----------
    levels : dict
        Category -> levels that have a column; the most frequent one has none, and neither has one that no training
        subject had.
    components : Components
        Of the features.
    names : tuple of str
        The columns that vary.
    mean, scale : (C,) float64 arrays
        Of those columns.
    relative_penalty : (C,) float64 array
        Penalty over that of the first component; 0 for confounders, which have one of their own.
    """

    levels: dict[str, tuple[str, ...]]
    components: Components
    names: tuple[str, ...]
    mean: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    relative_penalty: npt.NDArray[np.float64]

    def columns(self, sample: Sample) -> npt.NDArray[np.float64]:
        """Return the (n, C) standardised columns of any subjects."""
        raw = _raw_columns(sample, self.levels, self.components)[list(self.names)]
        return (raw.to_numpy(np.float64) - self.mean) / self.scale

    def penalties(self, chosen: Penalties) -> npt.NDArray[np.float64]:
        """Return the penalty of each column."""
        others = (chosen.others or 0.0) * self.relative_penalty
        return np.where(self.relative_penalty > 0, others, chosen.confounders)


def fit_design(training: Sample) -> Design:
    """Learn the columns from the training subjects."""
    levels = {name: _levels(training.covariates[name]) for name in CATEGORIES if name in training.covariates}
    components = _fit_components(training.features)
    raw = _raw_columns(training, levels, components)
    raw = raw.loc[:, (raw != raw.iloc[0]).any()]
    first_spread = components.spreads.max(initial=0.0)
    relative = {f"component {k}": (first_spread / spread) ** 2 for k, spread in enumerate(components.spreads)}
    confounders = tuple(f"{name}=" for name in CATEGORIES) + CONFOUNDERS
    return Design(
        levels,
        components,
        tuple(raw.columns),
        raw.mean().to_numpy(),
        raw.std(ddof=1).to_numpy(),
        np.array([0.0 if name.startswith(confounders) else relative.get(name, 1.0) for name in raw.columns]),
    )


def _raw_columns(sample: Sample, levels: dict[str, tuple[str, ...]], components: Components) -> pd.DataFrame:
    table = sample.covariates
    columns = {name: table[name].to_numpy(np.float64) for name in table if name not in CATEGORIES}
    columns |= {
        f"{name}={level}": (table[name] == level).to_numpy(np.float64) for name in levels for level in levels[name]
    }
    scores = components.of(sample.features)
    columns |= {f"component {k}": scores[:, k] for k in range(scores.shape[1])}
    return pd.DataFrame(columns, index=table.index)


def _levels(values: pd.Series) -> tuple[str, ...]:
    counts = values.value_counts().sort_index()
    return tuple(level for level in counts.index if level != counts.idxmax())


def _fit_components(features: npt.NDArray[np.float64]) -> Components:
    mean = features.mean(axis=0)
    varies = (features != features[:1]).any(axis=0)
    scale = np.where(varies, features.std(axis=0), 1.0)
    _, spreads, rows = np.linalg.svd(((features - mean) * varies) / scale, full_matrices=False)
    kept = (spreads > _NO_SPREAD * spreads.max(initial=0.0)) & (np.arange(len(spreads)) < MAX_COMPONENTS)
    return Components(mean, (rows[kept] * varies / scale).T, spreads[kept])
