"""Who has several scans, by the participants table. Functions only here."""

from drasclr_core.persons import are_shared, persons_of


@cache
def cohort_persons(cohort):
    """Return participant id -> person of a cohort in which somebody has several scans; else None, for each is one."""
    cells = (row.get("person") for row in rows(cohort).values())
    persons = persons_of(rows(cohort), cells)
    return persons if are_shared(persons) else None


def persons(wildcards):
    return cohort_persons(wildcards.cohort)


def persons_param():
    """Return the parameter of a costly rule; none where nobody has several scans, for a new one is a changed one."""
    return {"persons": persons} if any(map(cohort_persons, COHORTS)) else {}
