from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_bank import toy_bank

from drasclr_core.config.settings import PretrainSettings
from drasclr_core.train.batches import batches_per_landmark, epoch_batches, read_batches
from drasclr_core.train.parallel import Processes
from drasclr_core.train.rows import Rows

SETTINGS = PretrainSettings(batch_size=4, groups=2, neighbours=2)
VALID = np.ones((4, 11), bool)


def opened(bank, processes, rows):
    """Return the bank's rows with memory for `rows` of them."""
    memory_gb = rows * 32**3 * 2 * len(bank.participant_ids) / 1e9
    settings = replace(SETTINGS, row_memory_gb=memory_gb)
    return Rows(bank, settings, processes, torch.device("cpu"))


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


@pytest.mark.parametrize("rows", [3.5, 100])
@pytest.mark.parametrize("processes", [Processes(0, 1, 2), Processes(0, 2, 2), Processes(1, 2, 2)])
def test_patches_are_those_of_the_batchs_landmark_neighbours_and_subjects(processes, rows):
    bank = toy_bank(subjects=9)
    for epoch in range(2):
        batches = epoch_batches(bank.valid, SETTINGS, epoch)
        with opened(bank, processes, rows) as held:
            for batch, patches in zip(batches, read_batches(held, batches), strict=True):
                own = batch.subjects[processes.own_groups]
                assert patches.batch is batch
                assert patches.centre.dtype == patches.neighbours.dtype == torch.int16
                np.testing.assert_array_equal(patches.centre[:, :, 0, 0, 0], 10 * batch.landmark + own)
                np.testing.assert_array_equal(patches.centre, bank.hu[batch.landmark][own])
                for place, neighbour in enumerate(bank.grid.neighbours[batch.landmark, :2]):
                    np.testing.assert_array_equal(patches.neighbours[:, place, :, 0, 0, 0], 10 * neighbour + own)
                    np.testing.assert_array_equal(patches.neighbours[:, place], bank.hu[neighbour][own])


def test_patches_stay_when_their_rows_are_gone():
    bank, alone = toy_bank(subjects=9), Processes(0, 1, 2)
    batches = epoch_batches(bank.valid, SETTINGS, epoch=0)
    with opened(bank, alone, 3.5) as rows:
        kept = list(read_batches(rows, batches))
    assert len({batch.landmark for batch in batches}) == 4
    for batch, patches in zip(batches, kept, strict=True):
        np.testing.assert_array_equal(patches.centre, bank.hu[batch.landmark][batch.subjects])


def test_batches_in_any_order_get_their_own_patches():
    bank, alone = toy_bank(subjects=9), Processes(0, 1, 2)
    batches = epoch_batches(bank.valid, SETTINGS, epoch=0)[::3] + epoch_batches(bank.valid, SETTINGS, epoch=1)[::2]
    with opened(bank, alone, 3.5) as rows:
        for batch, patches in zip(batches, read_batches(rows, batches), strict=True):
            np.testing.assert_array_equal(patches.centre, bank.hu[batch.landmark][batch.subjects])


def test_no_neighbours_no_neighbours_patches():
    bank, alone = toy_bank(subjects=9), Processes(0, 1, 2)
    lonely = PretrainSettings(batch_size=4, groups=2, neighbours=0)
    with Rows(bank, lonely, alone, torch.device("cpu")) as rows:
        (patches,) = read_batches(rows, epoch_batches(bank.valid, lonely, epoch=0)[:1])
    assert patches.neighbours.shape == (2, 0, 2, 32, 32, 32)


def test_no_batches_no_patches():
    with opened(toy_bank(), Processes(0, 1, 2), 100) as rows:
        assert list(read_batches(rows, [])) == []


@pytest.mark.parametrize(("length", "runs"), [(None, [4] * 3), (3, [1, 1, 1, 3, 3, 3]), (1, [1] * 12)])
def test_visits_are_as_long_as_asked(length, runs):
    valid = np.ones((3, 16), bool)
    settings = replace(SETTINGS, visit_batches=length)
    batches = epoch_batches(valid, settings, epoch=0)
    visits = np.cumsum([batch.place == 0 for batch in batches])
    found = [[batches[place] for place in np.flatnonzero(visits == visit)] for visit in np.unique(visits)]
    assert sorted(len(visit) for visit in found) == runs
    for visit in found:
        assert [batch.place for batch in visit] == list(range(len(visit)))
        assert len({batch.landmark for batch in visit}) == 1
    whole = epoch_batches(valid, SETTINGS, epoch=0)
    assert sorted((b.landmark, *b.subjects.ravel()) for b in batches) == sorted(
        (b.landmark, *b.subjects.ravel()) for b in whole
    )
