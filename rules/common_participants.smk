"""Who has several scans; the check of the configuration with all its tables. Functions only here."""

from drasclr_core.workflow.study import check_study, shared_persons


@cache
def cohort_persons(cohort):
    return shared_persons(rows(cohort))


def persons(wildcards):
    """Return participant id -> person of a cohort in which somebody has several scans; else None, for each is one."""
    return cohort_persons(wildcards.cohort)


def persons_param():
    """Return the parameter of a costly rule; none where nobody has several scans, for a new one is a changed one."""
    return {"persons": persons} if any(map(cohort_persons, COHORTS)) else {}


# Here: a fault found while jobs are planned would be buried in a traceback.
config.update(checked(check_study, config, rows))
