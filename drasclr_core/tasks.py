"""What can be predicted of a subject: pure data, so that the Snakefile and the experiments can name tasks cheaply."""

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
        Names of `drasclr_core.metrics.METRICS`.
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
