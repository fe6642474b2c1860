"""The Cox model of survival: its ridge penalties, the risk and the survival that it predicts.

Columns and penalties are learnt from the training subjects alone, in the inner folds too.
"""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from drasclr_core.evaluate.concordance import Outcome
from drasclr_core.evaluate.survival_design import Design, Penalties, Sample, fit_design

logger = logging.getLogger(__name__)

# Of half the squared coefficient of a standardised column, beside the mean partial log likelihood. A column that
# explains something gains about the share of subjects who died, so 10 leaves next to nothing of it.
PENALTIES = tuple(10.0**exponent for exponent in range(-4, 2))
# None so weak that the coefficient of a rare category without deaths runs away.
CONFOUNDER_PENALTIES = PENALTIES[1:]
INNER_FOLDS = 5


@dataclass(frozen=True)
class CoxModel:
    """A fitted model.

    Attributes
    ----------
    design : Design
    coefficients : (C,) float64 array
        Of the standardised columns.
    penalties : Penalties
    converged : bool
    training_risk : (n,) float64 array
    training : Outcome
    """

    design: Design
    coefficients: npt.NDArray[np.float64]
    penalties: Penalties
    converged: bool
    training_risk: npt.NDArray[np.float64]
    training: Outcome

    def risk(self, sample: Sample) -> npt.NDArray[np.float64]:
        """Return the log hazard over that of an average training subject; higher is worse."""
        return self.design.columns(sample) @ self.coefficients

    def survival(self, risk: npt.NDArray[np.float64], time_days: float) -> npt.NDArray[np.float64]:
        """Return the predicted probability of living longer than `time_days`, by Breslow's baseline hazard."""
        died_by_then = self.training.died & (self.training.time_days <= time_days)
        hazard = np.exp(-_log_risk_sets(self.training_risk, self.training)[died_by_then]).sum()
        return np.exp(-hazard * np.exp(risk))


def fit_cox(training: Sample, seed: int) -> CoxModel:
    """Fit the model, with the penalties that inner cross-validations choose.

    First the penalty of the confounders is chosen, in a model of them alone; then, with that, the penalty of all else:
    useless features leave the model of the confounders. Clinical columns have that penalty. Features enter as principal
    components (at most `survival_design.MAX_COMPONENTS`) with a penalty inverse to their variance, as ridge on the
    standardised features has it.

    Parameters
    ----------
    training : Sample
        With at least one death.
    seed : int
        Of the inner folds.

    References
    ----------
    Cox, "Regression models and life-tables", 1972; Yu et al., "DrasCLR", Medical Image Analysis 2024, section 4.2.2.
    """
    design = fit_design(training)
    confounders = [Penalties(penalty) for penalty in CONFOUNDER_PENALTIES]
    chosen = choose_penalties(training.confounders(), confounders, seed)
    if (design.relative_penalty > 0).any():
        chosen = choose_penalties(training, [Penalties(chosen.confounders, penalty) for penalty in PENALTIES], seed)
    return _fit(design, training, chosen)


def choose_penalties(training: Sample, candidates: Sequence[Penalties], seed: int) -> Penalties:
    """Return the candidate of greatest cross-validated partial likelihood; of equals the last.

    Of each inner fold counts what it adds to the partial log likelihood of all (Verweij and van Houwelingen), so that
    a fold may be small. Folds are by person; those who died are dealt evenly.

    References
    ----------
    Verweij and van Houwelingen, "Cross-validation in survival analysis", Statistics in Medicine 12, 1993.
    """
    people, person = np.unique(training.persons, return_inverse=True)
    died = np.bincount(person, training.outcome.died) > 0
    order = np.random.default_rng(seed).permutation(len(people))
    order = order[np.argsort(died[order], kind="stable")]
    inner = np.empty(len(people), dtype=np.int64)
    inner[order] = np.arange(len(people)) % INNER_FOLDS
    samples = [training.of(inner[person] != fold) for fold in range(INNER_FOLDS)]
    parts = [(part, fit_design(part)) for part in samples if part.outcome.died.any()]
    return max(reversed(candidates), key=partial(_gain, training, parts))


def partial_log_likelihood(risk: npt.NDArray[np.float64], outcome: Outcome) -> float:
    """Return Cox's partial log likelihood of a risk (a log hazard), tied deaths after Breslow."""
    return float((risk - _log_risk_sets(risk, outcome))[outcome.died].sum())


def _gain(training: Sample, parts: list[tuple[Sample, Design]], penalties: Penalties) -> float:
    from lifelines.exceptions import ConvergenceError

    total = 0.0
    for part, design in parts:
        try:
            model = _fit(design, part, penalties)
        except ConvergenceError as error:
            logger.debug("%s: %s", penalties, error)
            return -np.inf
        total += partial_log_likelihood(model.risk(training), training.outcome)
        total -= partial_log_likelihood(model.training_risk, part.outcome)
    return total


def _fit(design: Design, training: Sample, penalties: Penalties) -> CoxModel:
    columns = design.columns(training)
    coefficients, converged = _coefficients(columns, training.outcome, design.penalties(penalties))
    return CoxModel(design, coefficients, penalties, converged, columns @ coefficients, training.outcome)


def _coefficients(
    columns: npt.NDArray[np.float64], outcome: Outcome, penalties: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], bool]:
    if columns.shape[1] == 0:
        return np.empty(0), True
    from lifelines import CoxPHFitter  # a second

    frame = pd.DataFrame(columns).assign(time_days=outcome.time_days, died=outcome.died)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = CoxPHFitter(penalizer=penalties).fit(frame, "time_days", "died")
    messages = [str(warning.message) for warning in caught]
    for message in messages:
        logger.debug("%s", message)
    return fitted.params_.to_numpy(), not any("Newton-Raphson" in message for message in messages)


def _log_risk_sets(risk: npt.NDArray[np.float64], outcome: Outcome) -> npt.NDArray[np.float64]:
    """Return for each subject the log of the summed hazards of all who were followed up as long or longer."""
    order = np.argsort(outcome.time_days, kind="stable")
    from_then_on = np.logaddexp.accumulate(risk[order][::-1])[::-1]
    return from_then_on[np.searchsorted(outcome.time_days[order], outcome.time_days, side="left")]
