import csv
import math
import os
import signal
import time
from dataclasses import replace

import pytest
import torch
from toy_bank import SETTINGS as TOY
from toy_bank import toy_bank

from drasclr_core.base.errors import InputError
from drasclr_core.train import loop as training
from drasclr_core.train.batches import epoch_batches, read_batches
from drasclr_core.train.contrast import Contrast
from drasclr_core.train.loop import cosine_rate, initial_encoder, pretrain
from drasclr_core.train.parallel import Processes
from drasclr_core.train.rows import Rows
from drasclr_core.train.views import make_views

SETTINGS = replace(TOY, epochs=2, learning_rate=0.05, key_momentum=0.9)
STEPS = 16  # 2 epochs, 4 landmarks, 8 subjects in batches of 4


def changed(**changes):
    return replace(SETTINGS, **changes)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def metric_rows(work):
    with (work / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    clocked = {"patches_per_second", "waiting_share"}
    return [{k: v for k, v in row.items() if k not in clocked} for row in rows]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    work = tmp_path_factory.mktemp("undisturbed")
    return pretrain(toy_bank(), SETTINGS, work)[0], metric_rows(work)


def test_it_moves_the_weights_and_reports(undisturbed):
    encoder, rows = undisturbed
    assert not same(encoder, initial_encoder(SETTINGS))
    assert all(torch.isfinite(p).all() for p in encoder.parameters())
    assert [int(row["step"]) for row in rows] == [3, 6, 9, 12, 15, 16]
    assert float(rows[0]["learning_rate"]) == pytest.approx(cosine_rate(0.05, 2, STEPS))


def test_same_seed_same_weights_another_seed_others(undisturbed, tmp_path):
    assert same(pretrain(toy_bank(), SETTINGS, tmp_path / "a")[0], undisturbed[0])
    assert not same(pretrain(toy_bank(), changed(seed=1, epochs=1), tmp_path / "b")[0], undisturbed[0])


@pytest.mark.parametrize(
    ("stop_at", "number"), [(1, signal.SIGTERM), (8, signal.SIGTERM), (11, signal.SIGTERM), (5, signal.SIGINT)]
)
def test_asked_to_stop_and_run_again_it_ends_the_same(undisturbed, tmp_path, monkeypatch, stop_at, number):
    make_views = training.make_views

    def make_views_and_stop(patches, settings, processes, step, device):
        if step == stop_at - 1:
            os.kill(os.getpid(), number)
        return make_views(patches, settings, processes, step, device)

    monkeypatch.setattr(training, "make_views", make_views_and_stop)
    assert pretrain(toy_bank(), SETTINGS, tmp_path) is None
    monkeypatch.undo()
    encoder, leads = pretrain(toy_bank(), SETTINGS, tmp_path)
    assert leads
    assert same(encoder, undisturbed[0])
    assert metric_rows(tmp_path) == undisturbed[1]


@pytest.mark.parametrize("kept", [None, 0, 1000], ids=["whole", "empty", "cut short"])
def test_broken_off_it_goes_back_to_the_last_good_checkpoint(undisturbed, tmp_path, monkeypatch, kept):
    make_views = training.make_views

    def make_views_or_fail(patches, settings, processes, step, device):
        if step == 7:
            raise OSError("power cut")
        return make_views(patches, settings, processes, step, device)

    monkeypatch.setattr(training, "make_views", make_views_or_fail)
    often = changed(checkpoint_minutes=0)
    with pytest.raises(OSError, match="power cut"):
        pretrain(toy_bank(), often, tmp_path)
    monkeypatch.undo()
    older, newer = sorted(tmp_path.glob("*.pt"))
    assert (older.name, newer.name) == ("checkpoint-000000006.pt", "checkpoint-000000007.pt")
    newer.write_bytes(newer.read_bytes()[:kept])
    assert same(pretrain(toy_bank(), often, tmp_path)[0], undisturbed[0])
    assert metric_rows(tmp_path) == undisturbed[1]


def test_out_of_time_after_every_step_it_still_ends_the_same(undisturbed, tmp_path):
    short = changed(time_limit_minutes=60, margin_minutes=10)
    for step in range(1, STEPS):
        assert pretrain(toy_bank(), short, tmp_path, started=time.monotonic() - 3001) is None
        assert max(path.name for path in tmp_path.glob("*.pt")) == f"checkpoint-{step:09d}.pt"
    assert same(pretrain(toy_bank(), short, tmp_path, started=time.monotonic() - 3001)[0], undisturbed[0])
    assert metric_rows(tmp_path) == undisturbed[1]


def test_within_its_time_it_trains_to_the_end(undisturbed, tmp_path):
    limited = changed(time_limit_minutes=60, margin_minutes=10)
    assert same(pretrain(toy_bank(), limited, tmp_path, started=time.monotonic() - 1800)[0], undisturbed[0])
    assert list(tmp_path.glob("*.pt")) == []


def test_without_a_key_encoder_it_goes_on_where_it_stopped(tmp_path):
    settings = changed(epochs=1, negatives="batch", key_momentum=None, head_norm=True, visit_batches=1, warmup_steps=2)
    limited = replace(settings, time_limit_minutes=60, margin_minutes=10)
    whole = pretrain(toy_bank(), settings, tmp_path / "whole")[0]
    for _ in range(3):
        assert pretrain(toy_bank(), limited, tmp_path / "parts", started=time.monotonic() - 3001) is None
    assert same(pretrain(toy_bank(), limited, tmp_path / "parts")[0], whole)
    assert metric_rows(tmp_path / "parts") == metric_rows(tmp_path / "whole")


@pytest.mark.parametrize("negatives", ["batch", "fresh"])
def test_with_any_negatives_it_goes_on_where_it_stopped(tmp_path, negatives):
    settings = changed(epochs=1, negatives=negatives, time_limit_minutes=60, margin_minutes=10)
    whole = pretrain(toy_bank(), settings, tmp_path / "whole")[0]
    for _ in range(3):  # out of time after every step; the third is the first of another visit
        assert pretrain(toy_bank(), settings, tmp_path / "parts", started=time.monotonic() - 3001) is None
    assert same(pretrain(toy_bank(), settings, tmp_path / "parts")[0], whole)
    assert metric_rows(tmp_path / "parts") == metric_rows(tmp_path / "whole")


def test_skill_against_fresh_keys_is_that_of_the_checkpoint_before_the_step(tmp_path):
    often = changed(epochs=1, checkpoint_minutes=0, checkpoints_kept=99, log_steps=1)
    bank, processes = toy_bank(), Processes(0, 1, 2)
    pretrain(bank, often, tmp_path)
    batches, logged = epoch_batches(bank.valid, often, 0), metric_rows(tmp_path)
    with Rows(bank, often, processes, torch.device("cpu")) as rows:
        for step, patches in enumerate(read_batches(rows, batches)):
            if step == 0:
                continue
            contrast = Contrast(
                initial_encoder(often), bank.grid.codes, bank.grid.neighbours, often, processes, torch.device("cpu")
            )
            state = torch.load(tmp_path / f"checkpoint-{step:09d}.pt", weights_only=True)
            contrast.load_state_dict(state["contrast"])
            views = make_views(patches, often, processes, step, torch.device("cpu"))
            with torch.no_grad():
                keys = contrast.encode_keys(views)
                code = contrast.codes[views.landmark]
                queries = torch.cat([contrast.encoder.project(contrast.encoder(q, code)) for q in views.queries])
            nearest = (queries @ keys.T).argmax(1)
            expected = (nearest == torch.arange(4)).double().mean().item()
            assert float(logged[step]["top1_fresh"]) == pytest.approx(expected)


@pytest.mark.parametrize("conditioning", ["none", "concatenation", "hypernetwork"])
def test_every_conditioning_trains_and_goes_on_where_it_stopped(tmp_path, conditioning):
    settings = changed(epochs=1, conditioning=conditioning, time_limit_minutes=60, margin_minutes=10)
    whole = pretrain(toy_bank(), settings, tmp_path / "whole")[0]
    assert all(torch.isfinite(p).all() for p in whole.parameters())
    assert not any(
        torch.equal(a, b) for a, b in zip(whole.parameters(), initial_encoder(settings).parameters(), strict=True)
    )
    for _ in range(2):  # out of time after every step
        assert pretrain(toy_bank(), settings, tmp_path / "parts", started=time.monotonic() - 3001) is None
    assert same(pretrain(toy_bank(), settings, tmp_path / "parts")[0], whole)


def test_no_process_waits_for_another_at_a_checkpoint(tmp_path, monkeypatch):
    # Their clocks differ: one that waits while another goes on to the next step would wait for ever.
    waits = []
    monkeypatch.setattr(Processes, "wait", lambda self: waits.append(self))
    pretrain(toy_bank(), changed(checkpoint_minutes=0, epochs=1), tmp_path)
    assert list(tmp_path.glob("*.pt"))
    assert waits == []


def test_no_epochs_leave_the_encoder_as_initialised(tmp_path):
    encoder, _ = pretrain(toy_bank(), changed(epochs=0, batch_size=400), tmp_path)
    assert same(encoder, initial_encoder(SETTINGS).eval())


@pytest.mark.parametrize(("local_rank", "expected"), [("0", 0), ("2", 2), ("3", 0), (None, 1)])
def test_each_process_takes_a_gpu_of_its_own(monkeypatch, local_rank, expected):
    current = [1]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[-1])
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local_rank is not None:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    assert training._device(changed(device="auto")) == torch.device("cuda", expected)


def test_the_rate_follows_half_a_cosine():
    assert cosine_rate(2.0, 0, 10) == 2
    assert cosine_rate(2.0, 5, 10) == pytest.approx(1)
    assert cosine_rate(2.0, 9, 10) == pytest.approx(1 + math.cos(0.9 * math.pi))


def test_in_the_warmup_the_rate_rises_from_0():
    rates = [cosine_rate(2.0, step, 10, warmup_steps=3) for step in range(10)]
    shares = [rate / cosine_rate(2.0, step, 10) for step, rate in enumerate(rates)]
    assert shares == pytest.approx([1 / 4, 2 / 4, 3 / 4, *[1] * 7])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 10}, "pretrain.batch_size is 10, but only 8 subjects"),
        ({"batch_size": 8, "queue_size": 4}, "pretrain.queue_size is 4"),
        ({"key_momentum": None}, "pretrain.key_momentum is null"),
        ({"neighbours": 4}, "pretrain.neighbours is 4, but landmarks.neighbours is 3"),
        ({"precision": "bfloat16"}, "pretrain.precision is 'bfloat16', but without a GPU"),
    ],
)
def test_settings_that_do_not_fit_the_bank_are_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        pretrain(toy_bank(), changed(**changes), tmp_path)


def test_a_landmark_without_enough_valid_subjects_is_named(tmp_path):
    valid = toy_bank().valid
    valid[:, :4] = False
    with pytest.raises(InputError, match="No landmark has 2 valid subjects in each of 2 groups"):
        pretrain(toy_bank(valid=valid), SETTINGS, tmp_path)
