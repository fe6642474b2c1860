"""What can be predicted: pure data, so that the Snakefile and the experiments can name tasks cheaply."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["regression", "ordinal", "binary"]
Transform = Literal["natural_log", "at_least_one"]


@dataclass(frozen=True)
class Task:
    """One label to predict, and how it is judged.

    Attributes
    ----------
    column : str
        The participants table's column.
    kind : {"regression", "ordinal", "binary"}
        Least squares for a regression, multinomial logistic regression for the other two.
    metrics : tuple of str
        Names of `drasclr_core.evaluate.metrics.METRICS`.
    classes : tuple of int
        Every class that the label can have; empty for a regression.
    left_out : tuple of int
        Values of the column that are real, but no class of this task.
    transform : {"natural_log", "at_least_one"}, optional
        What turns the column into the label.
    """

    column: str
    kind: Kind
    metrics: tuple[str, ...]
    classes: tuple[int, ...] = ()
    left_out: tuple[int, ...] = ()
    transform: Transform | None = None


ORDINAL = ("accuracy", "within_one")

TASKS = {
    "log_fev1pp": Task("fev1pp", "regression", ("r2",), transform="natural_log"),
    "log_fev1_fvc": Task("fev1_fvc", "regression", ("r2",), transform="natural_log"),
    # PRISm (-1) is no step of the obstruction scale.
    "gold": Task("gold", "ordinal", ORDINAL, classes=(0, 1, 2, 3, 4), left_out=(-1,)),
    "cle": Task("cle", "ordinal", ORDINAL, classes=(0, 1, 2, 3, 4, 5)),
    "paraseptal": Task("paraseptal", "ordinal", ORDINAL, classes=(0, 1, 2)),
    "ae_history": Task("exacerbations", "binary", ("accuracy",), classes=(0, 1), transform="at_least_one"),
    "covid_grade": Task("covid_grade", "ordinal", ORDINAL, classes=(0, 1, 2, 3, 4)),
}


@dataclass(frozen=True)
class OtherTask:
    """A task with an evaluation of its own, in several variants.

    Attributes
    ----------
    metrics : tuple of str
        Keys of the evaluation's summary.
    variants : tuple of str
        How it can be done.
    spread : str
        What stands beside a mean.
    """

    metrics: tuple[str, ...]
    variants: tuple[str, ...]
    spread: str = "the folds' sample s.d."


COLUMN_SETS = {
    "imaging": (),
    "hand_designed": ("gas_trapping_pct", "pi10_mm", "wall_area_pct"),
    "spirometry": ("fev1pp", "fev1_fvc"),
    "bode": ("bode",),
    "hand_designed_bode": ("gas_trapping_pct", "pi10_mm", "wall_area_pct", "bode"),
}
"""Columns of the participants table that join a run's features in a survival model."""

_DETECTION = OtherTask(("f1", "precision", "recall"), ("linear", "finetuned"))
_LOCATION = OtherTask(("accuracy",), ("patch_location", "random_location"))

OTHER_TASKS = {
    "survival": OtherTask(
        tuple(f"{estimator}_p{percentile}" for estimator in ("uno", "harrell") for percentile in (25, 50, 75)),
        tuple(COLUMN_SETS),
        spread="the bootstrap's standard error",
    ),
    "centrilobular_detection": _DETECTION,
    "paraseptal_detection": _DETECTION,
    "centrilobular_location": _LOCATION,
    "paraseptal_location": _LOCATION,
}


def evaluation_name(task: str, variant: str | None) -> str:
    """Return the name of an evaluation, and of its file."""
    return task if variant is None else f"{task}-{variant}"
