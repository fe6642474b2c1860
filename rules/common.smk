"""What several files of rules share - the checked configuration, participants, paths. Functions only here."""

from functools import cache, partial

from drasclr_core.base.code_content import content_sha256
from drasclr_core.cohort.table import read_participant_rows
from drasclr_core.config.checks import (
    COHORT_VERSIONS,
    STAGE_VERSIONS,
    UNSEEN,
    check_config,
    studied_cohorts,
)
from drasclr_core.base.errors import InputError
from drasclr_core.base.paths import readable_size
from drasclr_core.cohort.phantom_ids import phantoms_of
from drasclr_core.workflow.study import cohort_rows, read_config


def repo(path):
    """Return the absolute path of a file of this repository."""
    return str(Path(workflow.basedir) / path)


def code_of(script, *modules, also=()):
    """Return a parameter: what a cheap rule's script, library modules and other files of this repository say.

    Not an input: another place or date, or a comment, is no other code. Costly rules, and what a training waits for,
    carry a version instead.
    """
    library = [f"drasclr_core/{module}.py" for module in modules]
    paths = [f"workflow_scripts/{script}.py", *library, *also]

    def content(wildcards):
        named = [repo(path.format(**dict(wildcards.items()))) for path in paths]
        return {"code": checked(content_sha256, named)}

    return content


def checked(read, *arguments):
    """Call `read`; show the user's own faults without a traceback."""
    try:
        return read(*arguments)
    except InputError as error:
        raise WorkflowError(str(error)) from None


config = given_config(partial(checked, read_config))
checked(check_config, config)

COHORTS = studied_cohorts(config)


def is_phantom(cohort):
    return "phantom" in config["cohorts"][cohort]


@cache
def rows(cohort):
    """Return participant id -> row of the table, or an empty row for a phantom."""
    source = config["cohorts"][cohort]
    if is_phantom(cohort):
        return {id: {} for id in phantoms_of(source["phantom"])}
    # The cells are checked when the workflow starts, not again in each of its jobs.
    if is_main():
        return cohort_rows(config, cohort)
    table = read_participant_rows(source["participants"])
    return {row["participant_id"]: row for row in table}


def of_subject(wildcards):
    """Return the priority of a subject's job: phantoms that no training sees wait until trainings have theirs."""
    return -1 if wildcards.cohort == config["roles"].get(UNSEEN) else 0


def participants_table(wildcards):
    if is_phantom(wildcards.cohort):
        return f"results/{wildcards.cohort}/phantom/participants.tsv"
    return config["cohorts"][wildcards.cohort]["participants"]


def checked_tables():
    """Return the checked participants table of every cohort in a role."""
    return [f"results/{cohort}/participants.tsv" for cohort in COHORTS]


def phantom_input():
    """Return the input of a scan's phantom; none without phantoms, for it takes time to ask of every subject."""
    return {"phantom": phantom_folder} if any(map(is_phantom, config["cohorts"])) else {}


def phantom_folder(wildcards):
    return f"results/{wildcards.cohort}/phantom/{wildcards.id}" if is_phantom(wildcards.cohort) else []


def phantom_settings(wildcards):
    phantom = config["cohorts"][wildcards.cohort]["phantom"]
    return {"seed": config["seed"], "spacing_mm": phantom["spacing_mm"]}


def scan_path(wildcards):
    """Return where a participant's scan is: not an input, for a missing scan excludes one subject, not all."""
    if is_phantom(wildcards.cohort):
        return f"{phantom_folder(wildcards)}/ct.nii.gz"
    table = Path(config["cohorts"][wildcards.cohort]["participants"])
    return str(table.parent / rows(wildcards.cohort)[wildcards.id]["image"])


def listed(wildcards):
    """Return what is known of a participant before the scan is read: a mended one is read again, a copy is not."""
    scan = scan_path(wildcards)
    # Not more than bytes, or files: to look at each slice of each scan at every start would take minutes.
    size = None if is_phantom(wildcards.cohort) else readable_size(scan)
    reason = rows(wildcards.cohort)[wildcards.id].get("exclude_reason") or None
    return {"scan": scan, "scan_size": size, "exclude_reason": reason}


def segmentation_weights():
    """Return the weights' file: an input, for without it every subject would be excluded, and stay so."""
    settings = config["segmentation"]
    return settings["weights"] if settings["method"] == "lungmask" else []


def cohort_ids(wildcards):
    return sorted(rows(wildcards.cohort))


def every_id(pattern):
    """Return an input function: `pattern` for every participant of the cohort, in the table's order."""

    def paths(wildcards):
        return expand(pattern, id=rows(wildcards.cohort), allow_missing=True)

    return paths


def stored(stage, path):
    """Return the output folder of a stage, temporary unless storage.keep names the stage."""
    return directory(path) if stage in config["storage"]["keep"] else temp(directory(path))
