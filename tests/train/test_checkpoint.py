import pytest
import torch

from drasclr_core.base.errors import InputError
from drasclr_core.train.checkpoint import drop_checkpoints, newest_checkpoint, save_checkpoint


def state(step):
    return {"step": step, "contrast": {"queues": {"keys": torch.full((4,), float(step))}}, "telemetry": {"probe": None}}


def names(work):
    return sorted(path.name for path in work.iterdir())


def test_what_was_saved_last_comes_back(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    for step in (9, 10, 100):  # in the order of numbers, not of words
        save_checkpoint(tmp_path, state(step), kept=5)
        found = newest_checkpoint(tmp_path)
        assert found["step"] == step
        assert torch.equal(found["contrast"]["queues"]["keys"], torch.full((4,), float(step)))
        assert found["telemetry"] == {"probe": None}


@pytest.mark.parametrize("kept", [1, 3])
def test_the_newest_stay(tmp_path, kept):
    for step in range(1, 6):
        save_checkpoint(tmp_path, state(step), kept)
    assert names(tmp_path) == [f"checkpoint-{step:09d}.pt" for step in range(6 - kept, 6)]


def emptied(content):
    return b""


def halved(content):
    return content[: len(content) // 2]


def flipped(content):
    """Change one bit of the stored keys."""
    place = content.index(torch.full((4,), 3.0).numpy().tobytes())
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [emptied, halved, flipped])
def test_a_damaged_one_is_passed_over(tmp_path, damage):
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, state(step), kept=3)
    newest = tmp_path / "checkpoint-000000003.pt"
    newest.write_bytes(damage(newest.read_bytes()))
    assert newest_checkpoint(tmp_path)["step"] == 2


@pytest.mark.parametrize("kept", [1, 2])
def test_what_is_saved_stays_though_damaged_ones_of_later_steps_lie_there(tmp_path, kept):
    for step in (1000, 1500):
        (tmp_path / f"checkpoint-{step:09d}.pt").write_bytes(b"")
    save_checkpoint(tmp_path, state(300), kept)
    assert names(tmp_path) == ["checkpoint-000000300.pt"]


def test_a_disk_that_is_full_costs_no_checkpoint(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, state(1), kept=1)

    def fill_disk(content, path):
        path.write_bytes(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fill_disk)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, state(2), kept=1)
    assert names(tmp_path) == ["checkpoint-000000001.pt"]


def test_what_a_killed_writer_left_is_swept_up(tmp_path):
    (tmp_path / ".4711.checkpoint-000000002.pt").write_bytes(b"PK")
    assert newest_checkpoint(tmp_path) is None
    save_checkpoint(tmp_path, state(1), kept=1)
    assert names(tmp_path) == ["checkpoint-000000001.pt"]


def test_none_is_left_of_a_finished_training(tmp_path):
    save_checkpoint(tmp_path, state(1), kept=2)
    (tmp_path / "metrics.csv").touch()
    drop_checkpoints(tmp_path)
    assert names(tmp_path) == ["metrics.csv"]


class Malice:
    def __reduce__(self):
        return open, ("executed", "w")


def test_what_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(Malice(), tmp_path / "checkpoint-000000001.pt")
    with pytest.raises(InputError, match="holds more than tensors and plain values, and is not read"):
        newest_checkpoint(tmp_path)
    assert names(tmp_path) == ["checkpoint-000000001.pt"]
