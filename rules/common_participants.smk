"""Who is in the cohorts, who has several scans; the check of the configuration against them. Functions only here."""

from drasclr_core.config import check_participants
from drasclr_core.persons import are_shared, persons_of
from drasclr_core.recipes import with_recipe


def used_participants():
    """Return cohort -> id -> exclude_reason, of the cohorts in use; name the faults of all their tables."""
    lenders = [
        atlas["cohort"] for atlas in config["atlases"].values() if "cohort" in atlas
    ]
    used, faults = {}, []
    for cohort in [*COHORTS, *lenders]:
        try:
            used[cohort] = {
                id: row.get("exclude_reason", "") for id, row in rows(cohort).items()
            }
        except InputError as error:
            faults.append(str(error))
    if faults:
        raise InputError("\n".join(dict.fromkeys(faults)))
    return used


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


def participants_that_stay():
    """Return how many of each cohort that encoders are trained on have no exclude_reason."""
    return {
        cohort: sum(not reason for reason in USED[cohort].values())
        for cohort in COHORTS
    }


# Here: a fault found while jobs are planned would be buried in a traceback.
USED = checked(used_participants)
config.update(with_recipe(config, participants_that_stay()))
checked(
    check_participants,
    config,
    USED,
    {cohort: cohort_persons(cohort) for cohort in USED},
)
