"""Who has several scans; the check of the configuration with all its tables. Functions only here."""

from drasclr_core.study import check_study


def persons(wildcards):
    """Return participant id -> person of a cohort in which somebody has several scans; else None, for each is one."""
    return STUDY.persons[wildcards.cohort]


def persons_param():
    """Return the parameter of a costly rule; none where nobody has several scans, for a new one is a changed one."""
    shared = any(STUDY.persons[cohort] for cohort in COHORTS)
    return {"persons": persons} if shared else {}


# Here: a fault found while jobs are planned would be buried in a traceback.
STUDY = checked(check_study, config, rows)
config.update(STUDY.config)
