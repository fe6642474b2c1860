import errno
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from drasclr_core import __version__
from drasclr_core.base.errors import InputError
from drasclr_core.base.paths import cache_folder
from drasclr_core.cli.main import app


def drasclr(*arguments):
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def weights(monkeypatch):
    """Stand in for scan.lung_weights, whose download needs a network; `targets` holds what was asked for."""
    targets = []
    stand_in = SimpleNamespace(targets=targets, fetch_weights=lambda target: targets.append(target) or target)
    monkeypatch.setitem(sys.modules, "drasclr_core.scan.lung_weights", stand_in)
    return stand_in


@pytest.mark.parametrize("asked", ["version", "--version"])
def test_version(asked):
    result = drasclr(asked)
    assert (result.exit_code, result.stdout) == (0, f"{__version__}\n")


def test_fetch_weights_prints_where_they_are(weights, tmp_path):
    result = drasclr("fetch-weights", "--target", str(tmp_path / "r231.pth"))
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'r231.pth'}\n")
    assert weights.targets == [tmp_path / "r231.pth"]


def test_fetch_weights_goes_to_the_cache_by_default(weights, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert drasclr("fetch-weights").exit_code == 0
    assert weights.targets == [tmp_path / "drasclr" / "lungmask-r231.pth"]


@pytest.mark.parametrize("xdg_cache_home", [None, ""])
def test_cache_folder_without_xdg(monkeypatch, tmp_path, xdg_cache_home):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if xdg_cache_home is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", xdg_cache_home)
    assert cache_folder() == Path(tmp_path, ".cache", "drasclr")


def test_a_users_error_is_one_message_and_exit_code_2(weights):
    def refuse(target):
        raise InputError("no network: copy the file by hand")

    weights.fetch_weights = refuse
    result = drasclr("fetch-weights")
    assert result.exit_code == 2
    assert result.stderr == "Error: no network: copy the file by hand\n"
    assert result.stdout == ""


def test_a_bug_is_not_disguised_as_a_users_error(weights):
    def fail(target):
        raise ZeroDivisionError

    weights.fetch_weights = fail
    assert isinstance(drasclr("fetch-weights").exception, ZeroDivisionError)


def test_a_fault_of_a_path_is_the_users_and_a_full_disk_is_not(weights):
    def fail(number):
        def fetch(target):
            raise OSError(number, os.strerror(number), "model/encoder.safetensors")

        return fetch

    weights.fetch_weights = fail(errno.EACCES)
    result = drasclr("fetch-weights")
    assert result.exit_code == 2
    assert result.stderr == "Error: model/encoder.safetensors: Permission denied: check the path and its permissions.\n"
    weights.fetch_weights = fail(errno.ENOSPC)
    assert isinstance(drasclr("fetch-weights").exception, OSError)


@pytest.fixture
def handled():
    """Return what sets the handler of a signal until the test ends."""
    before = {}

    def handle(number, handler):
        before.setdefault(number, signal.signal(number, handler))

    yield handle
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_every_command_ends_in_order(weights, handled, number):
    seen = []

    def fetch(target):
        try:
            signal.raise_signal(number)
        finally:
            seen.append(signal.getsignal(number))

    handled(number, signal.SIG_DFL)
    weights.fetch_weights = fetch
    assert drasclr("fetch-weights").exit_code == 128 + number
    assert seen == [signal.SIG_IGN]  # a second signal does not cut the tidying short
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_command_under_nohup_outlives_its_terminal(weights, handled):
    def fetch(target):
        signal.raise_signal(signal.SIGHUP)
        return target

    handled(signal.SIGHUP, signal.SIG_IGN)
    weights.fetch_weights = fetch
    assert drasclr("fetch-weights").exit_code == 0
