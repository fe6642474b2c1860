"""Helpers of the quality control - which subjects are drawn together. Functions only here."""

from types import SimpleNamespace

SUBJECTS_A_BLOCK = 100


def block_ids(wildcards):
    first = int(wildcards.block) * SUBJECTS_A_BLOCK
    return list(rows(wildcards.cohort))[first : first + SUBJECTS_A_BLOCK]


def of_block(pattern):
    """Return an input function: `pattern` for every participant of a block."""

    def paths(wildcards):
        return expand(pattern, id=block_ids(wildcards), allow_missing=True)

    return paths


def block_phantoms(wildcards):
    """Return the phantoms of a block, which are its scans; of a real cohort nothing, for a scan may be missing."""
    phantoms = "results/{cohort}/phantom/{id}"
    return of_block(phantoms)(wildcards) if is_phantom(wildcards.cohort) else []


def block_scans(wildcards):
    return {id: scan_path(SimpleNamespace(cohort=wildcards.cohort, id=id)) for id in block_ids(wildcards)}


def cohort_blocks(wildcards):
    blocks = range(-(-len(rows(wildcards.cohort)) // SUBJECTS_A_BLOCK))
    return expand("results/{cohort}/{atlas}/qc/{block}", block=blocks, allow_missing=True)


def qc_settings(wildcards):
    """Return what a page says of its making, and who of its cohort is the atlas."""
    cohort, atlas = (
        config["cohorts"][wildcards.cohort],
        config["atlases"][wildcards.atlas],
    )
    decisive = [config["seed"], cohort, patch_settings(wildcards.atlas)]
    own = atlas.get("cohort") == wildcards.cohort
    return {
        "config_hash": digest(decisive),
        "atlas": atlas["participant"] if own else None,
    }
