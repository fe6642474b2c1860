"""Helpers of what runs on a cluster - groups of jobs. Functions only here."""


def lends_atlas(wildcards):
    lender = {"cohort": wildcards.cohort, "participant": wildcards.id}
    return any(lender.items() <= atlas.items() for atlas in config["atlases"].values())


def in_group(name):
    """Return a function for `group`, whose jobs share one on a cluster: with --group-components, and in that job."""

    def group(wildcards):
        return name if is_remote() or groups_are_asked_for() else None

    return group


def upstream_group(wildcards):
    """Return the group of a subject's stages before its registration.

    Not the one of those after it where an atlas is made from the subject: they wait for that atlas.
    """
    return in_group("lender" if lends_atlas(wildcards) else "subject")(wildcards)
