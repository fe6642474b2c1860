"""Helpers of the figures and of the report. Functions only here."""


def landmarks_of(flow):
    """Return the landmarks of the atlas to which a cohort's flow leads."""
    return f"results/atlases/{Path(flow).parent.name}/landmarks.json"
