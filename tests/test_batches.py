import numpy as np
import pytest
from toy_bank import toy_bank

from drasclr_core.batches import batches_per_landmark, epoch_batches, read_batches
from drasclr_core.parallel import Processes
from drasclr_core.settings import PretrainSettings

SETTINGS = PretrainSettings(batch_size=4, groups=2, neighbours=2, row_memory_gb=1e-9)
VALID = np.ones((4, 11), bool)


def test_each_epoch_visits_every_landmark_in_one_go_and_no_subject_twice():
    batches = epoch_batches(VALID, SETTINGS, epoch=0)
    landmarks = [batch.landmark for batch in batches]
    assert sorted(landmarks) == sorted(np.repeat(range(4), 2))  # 11 subjects: blocks of 6 and 5, 2 from each
    assert all(landmarks[i] == landmarks[i + 1] for i in (0, 2, 4, 6))
    for landmark in range(4):
        seen = np.concatenate([batch.subjects for batch in batches if batch.landmark == landmark], axis=1)
        assert len(np.unique(seen)) == seen.size


def test_each_group_draws_from_its_own_block():
    for batch in epoch_batches(VALID, SETTINGS, epoch=3):
        assert batch.subjects.shape == (2, 2)
        assert (batch.subjects[0] < 6).all()
        assert (batch.subjects[1] >= 6).all()


def test_invalid_patches_sit_out_and_do_not_change_the_number_of_steps():
    valid = VALID.copy()
    valid[2, [0, 1, 2, 3, 4]] = False
    assert batches_per_landmark(valid, SETTINGS).tolist() == [2, 2, 0, 2]
    valid[2, 4] = True
    counts = batches_per_landmark(valid, SETTINGS)
    assert counts.tolist() == [2, 2, 1, 2]
    for epoch in range(3):
        batches = epoch_batches(valid, SETTINGS, epoch)
        assert len(batches) == counts.sum()
        assert all(valid[batch.landmark, batch.subjects].all() for batch in batches)


def test_the_order_is_a_function_of_seed_and_epoch():
    def order(epoch, seed=0):
        settings = PretrainSettings(batch_size=4, groups=2, seed=seed)
        return [(b.landmark, *b.subjects.ravel()) for b in epoch_batches(VALID, settings, epoch)]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1) != order(1, seed=1)


@pytest.mark.parametrize("processes", [Processes(0, 1, 2), Processes(0, 2, 2), Processes(1, 2, 2)])
def test_patches_are_those_of_the_batchs_landmark_neighbours_and_subjects(processes):
    bank = toy_bank(subjects=9)
    batches = epoch_batches(bank.valid, SETTINGS, epoch=0)
    for batch, patches in zip(batches, read_batches(bank, batches, SETTINGS, processes), strict=True):
        own = batch.subjects[processes.own_groups]
        assert patches.batch is batch
        np.testing.assert_array_equal(patches.centre[:, :, 0, 0, 0], 10 * batch.landmark + own)
        for place, neighbour in enumerate(bank.grid.neighbours[batch.landmark, :2]):
            np.testing.assert_array_equal(patches.neighbours[:, place, :, 0, 0, 0], 10 * neighbour + own)


def test_no_batches_no_patches():
    assert list(read_batches(toy_bank(), [], SETTINGS, Processes(0, 1, 2))) == []
