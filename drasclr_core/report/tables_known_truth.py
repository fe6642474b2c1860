"""The probes of true disease as one table: what trainings, and what learns nothing, tell of a patch's disease."""

from collections.abc import Mapping
from typing import Any

from drasclr_core.report.tables import TableRow

_BOUNDS = {"r2": "estimate", "low": "low", "high": "high"}


def known_truth(seen: Mapping[str, Any], unseen: Mapping[str, Any] | None = None) -> list[TableRow]:
    """Return a row per run, disease, seed and features read, ready for `tables.table_csv`.

    Parameters
    ----------
    seen : mapping
        As of `disease_probe.probe_disease`, of the cohort that the encoders were trained on.
    unseen : mapping, optional
        The same of phantoms that no training saw.

    Returns
    -------
    list of dict
        ``run, disease, seed, features``, then ``r2, low, high`` with the interval over subjects, ``subjects``, and the
        same of the unseen, ``unseen_r2`` to ``unseen_subjects``; ``warning``, of the training. None where there is no
        value. What was not trained (location, histograms) has one row a disease, whose seed is that of folds and
        bootstrap, and no features of an encoder.
    """
    return [
        {
            "run": row["run"],
            "disease": disease,
            "seed": row["seed"],
            "features": row["features"],
            **_cells(seen, disease, row["name"]),
            **{f"unseen_{name}": value for name, value in _cells(unseen, disease, row["name"]).items()},
            "warning": "; ".join(row["warnings"]),
        }
        for disease in seen["targets"]
        for row in seen["rows"]
    ]


def _cells(probe: Mapping[str, Any] | None, disease: str, name: str) -> TableRow:
    if probe is None:
        return dict.fromkeys([*_BOUNDS, "subjects"])
    value = probe["targets"][disease]["r2"][name]
    return {**{column: value[key] for column, key in _BOUNDS.items()}, "subjects": probe["n_subjects"]}
