"""Views are those that a plain reading of the bank gives, draw for draw."""

import numpy as np
import pytest
import torch
from toy_bank import toy_bank

from drasclr_core.config.settings import PretrainSettings
from drasclr_core.train.augment import apply_views, draw_views
from drasclr_core.train.batches import epoch_batches, read_batches
from drasclr_core.train.parallel import Processes
from drasclr_core.train.rows import Rows
from drasclr_core.train.views import make_views

CPU = torch.device("cpu")
SETTINGS = PretrainSettings(batch_size=4, groups=2, neighbours=2, seed=3, row_memory_gb=0.002)
QUERY, KEY, NEIGHBOUR = range(3)


def plain_views(hu, step, group, kind):
    """Return the views of patches (b, P, P, P), an array as zarr reads it."""
    rng = np.random.default_rng([SETTINGS.seed, step, group, kind])
    parameters = draw_views(len(hu), SETTINGS, 1.0, rng)
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    noise = torch.randn((np.count_nonzero(parameters.noise_hu), 32, 32, 32), generator=generator)
    return apply_views(torch.from_numpy(hu), parameters, noise)


@pytest.mark.parametrize("processes", [Processes(0, 1, 2), Processes(1, 2, 2)])
def test_views_equal_those_of_a_plain_reading(processes):
    bank = toy_bank(subjects=9, persons=np.arange(9) // 2)
    batches = epoch_batches(bank.valid, SETTINGS, epoch=0)
    with Rows(bank, SETTINGS, processes, CPU) as rows:
        for step, patches in enumerate(read_batches(rows, batches)):
            views = make_views(patches, SETTINGS, processes, step, CPU)
            batch = batches[step]
            assert views.landmark == batch.landmark
            assert views.persons.tolist() == [subject // 2 for subject in batch.subjects.ravel()]
            assert (views.step, views.visit) == (step, step - step % 2)  # two batches a visit
            for place, group in enumerate(processes.own_groups):
                hu = bank.hu[batch.landmark][batch.subjects[group]]
                assert torch.equal(views.queries[place], plain_views(hu, step, group, QUERY))
                assert torch.equal(views.keys[place], plain_views(hu, step, group, KEY))
                around = [bank.hu[i][batch.subjects[group]] for i in bank.grid.neighbours[batch.landmark, :2]]
                expected = plain_views(np.concatenate(around), step, group, NEIGHBOUR)
                assert torch.equal(views.neighbours[place].flatten(0, 1), expected)
