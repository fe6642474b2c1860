import logging
from pathlib import Path

import numpy as np
import pytest

from drasclr_core.base.documents import read_yaml
from drasclr_core.config.checks import is_pretrained, pretrain_settings
from drasclr_core.config.recipes import with_recipe
from drasclr_core.config.settings import PretrainSettings
from drasclr_core.train.batches import batches_per_landmark
from drasclr_core.train.negatives import queue_shares, warn_of_stale

ROOT = Path(__file__).parents[2]

# landmarks, batches a visit, batch, K, epochs; unfilled, older, fresh in percent, steps between visits
COHORTS = {
    "config": (22, 1, 32, 128, 8, (31, 69, 0, 22)),
    "phantom-large": (22, 5, 32, 128, 40, (1, 49, 50, 106)),
    "copdgene": (581, 71, 128, 4096, 20, (1, 22, 77, 41181)),
    "mosmed": (581, 8, 128, 4096, 20, (10, 79, 11, 4641)),
}


def rounded(shares):
    return (
        *(round(100 * share) for share in (shares.unfilled, shares.older, shares.fresh)),
        shares.steps_between_visits,
    )


@pytest.mark.parametrize("name", COHORTS)
def test_the_shares_of_four_cohorts_are_those_measured(name):
    landmarks, visit, batch, size, epochs, expected = COHORTS[name]
    assert rounded(queue_shares(np.full(landmarks, visit), batch, size, epochs)) == expected


def test_the_shares_equal_those_of_a_queue_filled_step_by_step():
    batches, batch, size, epochs = [3, 1, 0, 2], 4, 10, 3
    kinds = {"unfilled": 0, "older": 0, "fresh": 0}
    for visit in batches:
        slots = [None] * size  # the epoch of each key
        place = 0
        for epoch in range(epochs):
            for _ in range(visit):
                kinds["unfilled"] += slots.count(None)
                kinds["fresh"] += slots.count(epoch)
                kinds["older"] += sum(made is not None and made < epoch for made in slots)
                for _ in range(batch):
                    slots[place % size] = epoch
                    place += 1
    shares = queue_shares(np.array(batches), batch, size, epochs)
    total = sum(kinds.values())
    assert {name: getattr(shares, name) * total for name in kinds} == pytest.approx(kinds)


def warned(caplog, visit, **changes):
    caplog.clear()
    settings = PretrainSettings(**{"batch_size": 32, "queue_size": 128, "epochs": 8} | changes)
    with caplog.at_level(logging.WARNING):
        warn_of_stale(np.full(22, visit), settings)
    return " ".join(record.getMessage() for record in caplog.records)


def test_a_stale_queue_is_warned_of_with_its_numbers_and_the_remedy(caplog):
    text = warned(caplog, 1)
    assert "31 % will be unfilled and 69 % older than the visit, 0 % fresh (22 landmarks, 1 batches of 32" in text
    assert text.endswith("Use pretrain.negatives: batch.")
    assert warned(caplog, 8, queue_size=1024).endswith("Use pretrain.negatives: fresh.")


@pytest.mark.parametrize(
    ("visit", "changes"),
    [(5, {"epochs": 400}), (1, {"negatives": "batch"}), (1, {"negatives": "fresh"}), (1, {"queues": "global"})],
)
def test_no_warning_where_half_is_fresh_or_no_queue_of_a_landmark_is_used(caplog, visit, changes):
    assert warned(caplog, visit, **changes) == ""


@pytest.mark.parametrize(
    ("name", "subjects", "landmarks"),
    [("config.yaml", 40, 22), ("config/phantom-large.yaml", 160, 22)]
    + [("config/copdgene.yaml", 9180, 581), ("config/mosmed.yaml", 1110, 581)],
)
def test_no_training_of_the_shipped_configurations_has_a_stale_queue(name, subjects, landmarks, caplog):
    config = with_recipe(read_yaml(ROOT / name), {"studied": subjects})
    for run in (run for run in config["runs"] if is_pretrained(config, run)):
        values = pretrain_settings(config, run)
        settings = PretrainSettings(**{key: values[key] for key in values if key not in ("processes", "nodes")})
        batches = batches_per_landmark(np.ones((landmarks, subjects), bool), settings)
        if settings.epochs:
            warn_of_stale(batches, settings)
    assert [record.getMessage() for record in caplog.records] == []
