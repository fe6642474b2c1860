import csv
import math

import pytest
import torch

from drasclr_core.base.errors import InputError
from drasclr_core.config.settings import PretrainSettings
from drasclr_core.train import telemetry
from drasclr_core.train.telemetry import COLUMNS, Telemetry

SETTINGS = PretrainSettings(batch_size=4, neighbours=2, queue_size=7, log_steps=2)


class Clock:
    """Stands in for the module `time`."""

    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(telemetry, "time", clock)
    return clock


def opened(work, steps=100, step=0, state=None, active=True):
    found = Telemetry(work, SETTINGS, steps, active)
    if state is not None:
        found.load_state_dict(state)
    found.start(step)
    return found


def measures(local, neighbour=3.0, alignment=0.25, potential=0.1, rank=5.0, counts=(2, 4, 3, 12, 1, 4, 2, 4, 24)):
    return torch.tensor([local, neighbour, math.log(4), alignment, potential, rank, *counts])


def rows(work):
    with (work / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def take_step(run, clock, step, local=1.0, waited=1.0, worked=3.0):
    with run.waiting():
        clock.now += waited
    clock.now += worked
    run.add(step, measures(local))
    run.write_due(step, learning_rate=step / 10)


def test_a_row_is_the_average_over_its_steps(tmp_path, clock):
    with opened(tmp_path) as run:
        run.add(1, measures(1.0, 2.0, 0.5, 0.2, 3.0, (0, 0, 0, 0, 1, 4, 5, 12, 0)))  # a queue that nobody has filled
        run.write_due(1, 0.3)
        clock.now += 8
        run.add(2, measures(2.0, 4.0, 0.1, 0.4, 4.0, (2, 4, 9, 12, 2, 4, 7, 12, 48)))
        run.write_due(2, 0.2)
    (row,) = ({name: float(value) for name, value in row.items() if value} for row in rows(tmp_path))
    assert list(row) == COLUMNS[:-1]
    expected = {
        **{"step": 2, "loss_local": 1.5, "loss_neighbour": 3},
        **{"loss_local_relative": 1.5 / math.log(4), "loss_neighbour_relative": 3 / math.log(4)},
        **{"top1_accuracy": 2 / 4, "win_rate": 9 / 12, "top1_fresh": 3 / 8, "win_rate_fresh": 12 / 24},
        **{"negatives": 12 / 8, "negatives_age": 48 / 12},
        **{"alignment": 0.3, "uniformity": math.log(0.3), "effective_rank": 3.5},
        **{"learning_rate": 0.2, "patches_per_second": 2 * 4 * 4 / 8, "waiting_share": 0},
    }
    assert row == pytest.approx(expected, rel=1e-6)


def test_skill_without_any_negative_is_an_empty_cell(tmp_path, clock):
    with opened(tmp_path) as run:
        for step in (1, 2):
            clock.now += 1
            run.add(step, measures(0.0, counts=[0] * 9))
            run.write_due(step, 0.1)
    (row,) = rows(tmp_path)
    empty = {"top1_accuracy", "win_rate", "top1_fresh", "win_rate_fresh", "negatives_age", "probe_score"}
    assert {name for name, value in row.items() if not value} == empty


def warnings(caplog):
    return [record.message for record in caplog.records if record.levelname == "WARNING"]


def test_a_collapse_is_told_once_and_again_after_an_interruption(tmp_path, clock, caplog):
    with opened(tmp_path, steps=40) as run:
        for step in range(1, 11):
            clock.now += 1
            run.add(step, measures(1.0, potential=1.0))
            run.write_due(step, 0.1)
    assert [text[:50] for text in warnings(caplog)] == ["the training collapsed: in 4 of 40 steps, from 1 t"]
    caplog.clear()
    with opened(tmp_path, steps=40, step=2) as run:
        for step in range(3, 7):
            clock.now += 1
            run.add(step, measures(1.0, potential=1.0))
            run.write_due(step, 0.1)
    assert len(warnings(caplog)) == 1


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path, clock):
    with opened(tmp_path) as run:
        take_step(run, clock, 1)
        with pytest.raises(InputError, match="The loss is nan at step 2: make pretrain.learning_rate smaller"):
            take_step(run, clock, 2, local=math.nan)


def test_the_share_of_waiting_is_of_the_time_since_the_row_before(tmp_path, clock):
    with opened(tmp_path) as run:
        for step, waited in enumerate([1, 1, 3, 1], start=1):
            take_step(run, clock, step, waited=waited, worked=2)
    assert [float(row["waiting_share"]) for row in rows(tmp_path)] == [2 / 6, 4 / 8]


def test_a_probe_stands_in_the_next_row_and_its_time_does_not_count(tmp_path, clock):
    with opened(tmp_path) as run:
        for step, score in enumerate([None, None, 0.25, None, None, -0.5], start=1):
            clock.now += 4
            run.add(step, measures(1.0))
            if score:
                clock.now += 1000
                run.probed(step, score, 1000)
            run.write_due(step, 0.1)
    assert [row["probe_score"] for row in rows(tmp_path)] == ["", "0.25", "-0.5"]
    assert {float(row["patches_per_second"]) for row in rows(tmp_path)} == {2 * 4 * 4 / 8}


def test_the_last_step_ends_a_row(tmp_path, clock):
    with opened(tmp_path, steps=3) as run:
        for step in (1, 2, 3):
            take_step(run, clock, step, local=step)
    assert [(row["step"], float(row["loss_local"])) for row in rows(tmp_path)] == [("2", 1.5), ("3", 3)]


def test_an_interruption_leaves_no_trace(tmp_path, clock):
    with opened(tmp_path / "whole") as run:
        for step in range(1, 7):
            take_step(run, clock, step, local=step)
    with opened(tmp_path / "broken") as run:
        for step in range(1, 6):
            take_step(run, clock, step, local=step)
            if step == 3:
                run.probed(step, 0.5, 0)
                run.probed(step, None, 0)  # None replaces it
                state = run.state_dict()
    clock.now += 5000
    with opened(tmp_path / "broken", step=3, state=state) as run:
        for step in (4, 5, 6):
            take_step(run, clock, step, local=step)
    assert rows(tmp_path / "broken") == rows(tmp_path / "whole")


def test_only_the_active_process_writes(tmp_path, clock):
    with opened(tmp_path, active=False) as run:
        take_step(run, clock, 2)
    assert list(tmp_path.iterdir()) == []
