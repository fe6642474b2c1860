import numpy as np
import pytest
import SimpleITK as sitk

from drasclr_core.phantom.simulate import simulate_subject
from drasclr_core.scan.lungs import segment_threshold


# Healthy with dense vessels, sharp kernel; severe emphysema; small lungs.
@pytest.mark.parametrize("participant_id", ["phantom-001", "phantom-012", "phantom-027"])
def test_phantoms_keep_their_lungs_whole(participant_id):
    phantom = simulate_subject(participant_id, seed=0, spacing_mm=(3.0, 3.0, 4.0))
    found, truth = (sitk.GetArrayFromImage(image) for image in (segment_threshold(phantom.ct), phantom.lungs))
    for label in (1, 2):
        ours, theirs = found == label, truth == label
        assert 2 * np.sum(ours & theirs) / (ours.sum() + theirs.sum()) > 0.96
