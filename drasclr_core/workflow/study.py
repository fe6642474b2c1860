"""A configuration together with its tables: everything that is checked before the first job, in one place.

`drasclr plan` and the workflow both ask `check_study`, so neither lets pass what the other refuses.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from drasclr_core.base.documents import plain_values, read_yaml
from drasclr_core.base.errors import InputError
from drasclr_core.cohort.boxes import read_boxes
from drasclr_core.cohort.persons import are_shared, persons_of
from drasclr_core.cohort.phantom_ids import phantoms_of
from drasclr_core.cohort.table import read_checked_rows
from drasclr_core.config.checks import Config, check_config, check_participants, studied_cohorts
from drasclr_core.config.recipes import with_recipe

Rows = Mapping[str, Mapping[str, str]]
"""Participant id -> row of the participants table; of a phantom an empty row."""


def read_config(files: Iterable[str | Path], given: Mapping[str, Any]) -> Config:
    """Return the configuration of some files, later ones first, changed by what the command line gives.

    Snakemake reads YAML 1.1, lets the last of equal keys win, and leaves values within a given one as text.

    Parameters
    ----------
    files : iterable of paths
    given : mapping
        Snakemake's --config.

    Raises
    ------
    InputError
        As of `documents.read_yaml`.
    """
    config: Config = {}
    for content in [*map(read_yaml, files), plain_values(dict(given))]:
        config = _merged(config, content)
    return config


def _merged(old: Any, new: Any) -> Any:
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return new
    return {**old, **{name: _merged(old.get(name), value) for name, value in new.items()}}


def cohort_rows(config: Config, cohort: str) -> dict[str, dict[str, str]]:
    """Return participant id -> row of a cohort's table, every cell checked; an empty row for a phantom.

    Raises
    ------
    InputError
        Naming every fault of the table.
    """
    source = config["cohorts"][cohort]
    if "phantom" in source:
        return {name: {} for name in phantoms_of(source["phantom"])}
    return {row["participant_id"]: row for row in read_checked_rows(source["participants"])}


def absent_images(config: Config, cohort: str) -> list[Path]:
    """Return the images of a cohort's table that are not there and not left out by hand; of a phantom none."""
    source = config["cohorts"][cohort]
    if "phantom" in source:
        return []
    folder = Path(source["participants"]).parent
    wanted = (row for row in cohort_rows(config, cohort).values() if not row.get("exclude_reason"))
    return [path for row in wanted if not (path := folder / row["image"]).exists()]


def check_study(config: Config, rows: Callable[[str], Rows]) -> Config:
    """Check a configuration, and it against the tables of the cohorts in use.

    Parameters
    ----------
    config : dict
        As read from its file; not changed.
    rows : callable
        Cohort -> its rows, as of `cohort_rows`.

    Returns
    -------
    dict
        The configuration, with the recipe of its trainings chosen.

    Raises
    ------
    InputError
        Naming all faults at once: of the configuration; else those of the tables of participants and of boxes; else
        what of configuration and tables does not fit together.
    """
    check_config(config)
    lenders = [atlas["cohort"] for atlas in config["atlases"].values() if "cohort" in atlas]
    cohorts = list(dict.fromkeys([*studied_cohorts(config), *lenders]))
    _raise([*_faults(rows, cohorts), *_faults(lambda cohort: _boxes(config, cohort), cohorts), *_lost_weights(config)])
    participants = {
        cohort: {name: row.get("exclude_reason", "") for name, row in rows(cohort).items()} for cohort in cohorts
    }
    persons = {cohort: shared_persons(rows(cohort)) for cohort in cohorts}
    trained = {cohort: sum(not why for why in participants[cohort].values()) for cohort in studied_cohorts(config)}
    config = with_recipe(config, trained)
    check_participants(config, participants, persons)
    return config


def shared_persons(rows: Rows) -> dict[str, str] | None:
    """Return participant id -> person of a cohort in which somebody has several scans; else None, for each is one."""
    persons = persons_of(rows, (row.get("person") for row in rows.values()))
    return persons if are_shared(persons) else None


def _faults(read: Callable[[str], object], cohorts: Iterable[str]) -> list[str]:
    faults = []
    for cohort in cohorts:
        try:
            read(cohort)
        except InputError as error:
            faults.append(str(error))
    return faults


def _boxes(config: Config, cohort: str) -> None:
    if "boxes" in config["cohorts"][cohort]:
        read_boxes(config["cohorts"][cohort]["boxes"])


def _lost_weights(config: Config) -> list[str]:
    settings = config["segmentation"]
    if settings["method"] != "lungmask" or Path(settings["weights"]).is_file():
        return []
    return [f"segmentation.weights: there is no file {settings['weights']}: fetch it with drasclr fetch-weights."]


def _raise(faults: list[str]) -> None:
    if faults:
        raise InputError("\n".join(dict.fromkeys(faults)))
