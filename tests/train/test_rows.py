"""Rows are there when they are needed, no more of them than memory allows, and few are read twice."""

import itertools

import numpy as np
import pytest
import torch
from toy_bank import toy_bank

from drasclr_core.atlas.bank import Bank
from drasclr_core.base.errors import InputError
from drasclr_core.config.settings import PretrainSettings
from drasclr_core.train.parallel import Processes
from drasclr_core.train.rows import Rows, plan_loads, subject_blocks

ALONE = Processes(0, 1, 2)
CPU = torch.device("cpu")
ROW_GB = 9 * 32**3 * 2 / 1e9
VISITS = [(0, 1, 2), (3, 0, 1), (2, 0, 1), (1, 0, 2), (0, 3, 1)]


def settings(rows):
    return PretrainSettings(batch_size=4, groups=2, neighbours=2, row_memory_gb=rows * ROW_GB)


def random_visits(seed, landmarks=12, count=40):
    rng = np.random.default_rng(seed)
    return [tuple(rng.choice(landmarks, 3, replace=False).tolist()) for _ in range(count)]


def replayed(visits, slots, held, loads, places):
    """Carry the loads out as early as they may be; return how often a load had to wait for the visit before."""
    content, waiting, late = {slot: landmark for landmark, slot in held.items()}, list(loads), 0
    for visit, (landmarks, at) in enumerate(zip(visits, places, strict=True)):
        while waiting and waiting[0].after < visit:
            load = waiting.pop(0)
            late += load.visit == visit > 0
            content[load.slot] = load.landmark
        assert [content[slot] for slot in at] == list(landmarks)
        assert content.keys() <= set(range(slots))
    assert waiting == []
    return content, late


@pytest.mark.parametrize("slots", [3, 4, 5, 6, 8, 12])
@pytest.mark.parametrize("seed", range(5))
def test_every_visit_finds_its_rows_however_early_they_are_read(slots, seed):
    held = {}
    for epoch in range(3):
        visits = random_visits(10 * seed + epoch)
        loads, places, after = plan_loads(visits, slots, held)
        content, late = replayed(visits, slots, held, loads, places)
        assert {landmark: slot for slot, landmark in content.items()} == after
        if slots >= 6:  # those of a visit and of the next
            assert late == 0
        held = after


def test_with_room_for_all_each_row_is_read_once_and_the_next_epoch_reads_none():
    loads, _, held = plan_loads(VISITS, 4, {})
    assert [load.landmark for load in loads] == [0, 1, 2, 3]
    assert [load.visit for load in loads] == [0, 0, 0, 1]
    assert {load.after for load in loads} == {-1}
    assert plan_loads(VISITS, 4, held)[0] == []


def test_the_row_whose_next_use_is_farthest_goes_first():
    visits = [(0,), (1,), (2,), (3,), (0,), (1,), (2,)]
    loads, places, _ = plan_loads(visits, 3, {})
    # 3 takes the place of 1, not of 0, which comes sooner, nor of 2, which is in use the visit before.
    assert [(load.landmark, load.visit, load.after) for load in loads[3:]] == [(3, 3, 1), (1, 5, 3)]
    assert places[3] == places[1] == places[5]


def fewest_loads(visits, slots):
    """Return the least number of loads of any eviction, by trying all."""
    states = {frozenset(): 0}
    for landmarks in visits:
        following = {}
        for held, count in states.items():
            missing = set(landmarks) - held
            idle = held - set(landmarks)
            keep = min(len(idle), slots - len(landmarks))
            for kept in itertools.combinations(sorted(idle), keep):
                state = frozenset(landmarks) | frozenset(kept)
                following[state] = min(following.get(state, 10**6), count + len(missing))
        states = following
    return min(states.values())


@pytest.mark.parametrize("seed", range(4))
def test_few_rows_are_read_more_often_than_need_be(seed):
    visits = random_visits(seed, landmarks=7, count=25)
    loads, _, _ = plan_loads(visits, 6, {})
    assert len(loads) <= 1.3 * fewest_loads(visits, 6)  # keeping those used last: 1.6 times, on average


def counted(monkeypatch):
    reads = []
    read = Bank.read
    monkeypatch.setattr(Bank, "read", lambda bank, row, *rest: (reads.append(row), read(bank, row, *rest))[1])
    return reads


@pytest.mark.parametrize("memory_rows", [3.5, 4.5, 100])
def test_rows_are_those_of_the_landmarks(monkeypatch, memory_rows):
    bank, reads = toy_bank(subjects=9), counted(monkeypatch)
    with Rows(bank, settings(memory_rows), ALONE, CPU) as rows:
        for _ in range(2):
            for visit, found in zip(VISITS, rows.walk(VISITS), strict=True):
                assert len(found) == 3
                for landmark, row in zip(visit, found, strict=True):
                    np.testing.assert_array_equal(row, bank.hu[landmark])
    assert len(reads) == 4 if memory_rows > 4 else len(reads) > 4


def test_a_walk_broken_off_leaves_nothing_stale():
    bank = toy_bank(subjects=9)
    with Rows(bank, settings(3.5), ALONE, CPU) as rows:
        list(rows.walk(VISITS))  # what it holds at the end is known
        broken_off = rows.walk([(1, 2, 3), (0, 2, 3)])
        next(broken_off), next(broken_off)  # and overwritten
        for visit, found in zip(VISITS[::-1], rows.walk(VISITS[::-1]), strict=True):
            for landmark, row in zip(visit, found, strict=True):
                np.testing.assert_array_equal(row, bank.hu[landmark])


def test_what_fails_in_the_background_fails_the_walk(monkeypatch):
    def read(bank, landmark, out, begin):
        raise InputError(f"row {landmark} is damaged")

    monkeypatch.setattr(Bank, "read", read)
    with (
        Rows(toy_bank(subjects=9), settings(4), ALONE, CPU) as rows,
        pytest.raises(InputError, match="row 0 is damaged"),
    ):
        next(rows.walk(VISITS))


def test_a_process_reads_its_own_subjects_alone():
    bank = toy_bank(subjects=9)
    for rank, subjects in enumerate([range(5), range(5, 9)]):
        with Rows(bank, settings(4), Processes(rank, 2, 2), CPU) as rows:
            assert rows.subjects == subjects
            for row, landmark in zip(next(rows.walk(VISITS)), VISITS[0], strict=True):
                np.testing.assert_array_equal(row, bank.hu[landmark, subjects.start : subjects.stop])


def test_groups_are_blocks_of_subjects():
    blocks = subject_blocks(11, 4)
    assert blocks == [range(3), range(3, 6), range(6, 9), range(9, 11)]
    for block, expected in zip(blocks, np.array_split(np.arange(11), 4), strict=True):
        assert list(block) == expected.tolist()


def test_memory_for_less_than_a_landmark_and_its_neighbours_is_refused():
    bank = toy_bank(subjects=9)
    message = r"pretrain\.row_memory_gb is 0\.0011[0-9]*, but .* 2 neighbours, 9 subjects per process, need 0\.00177"
    with pytest.raises(InputError, match=message):
        Rows(bank, settings(2), ALONE, CPU)
    Rows(bank, settings(2), Processes(0, 2, 2), CPU)  # 5 subjects
