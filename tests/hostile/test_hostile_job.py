"""Jobs that cannot do their work fail clearly; nothing of a hostile file is executed, nothing half-written is left."""

import re

import pytest
from hostile_case import clean_ct
from hostile_job import CASES
from typer.testing import CliRunner
from volumes import saved

from drasclr_core.cli.main import app


@pytest.mark.parametrize("name", CASES)
def test_the_job_fails_clearly(tmp_path, name):
    _, do, error, message = CASES[name]
    with pytest.raises(error, match=message):
        do(tmp_path)
    assert not (tmp_path / "executed").exists()
    assert not [path for path in tmp_path.rglob(".*")]


def test_the_malice_is_real(tmp_path):
    """Else the tests above would prove nothing."""
    import pickle

    from hostile_job import Malice

    pickle.loads(pickle.dumps(Malice(tmp_path / "executed"))).close()
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["changed-model", "truncated-model", "malicious-model"])
def test_the_command_refuses_the_model_before_any_work(tmp_path, name):
    _, do, error, message = CASES[name]
    with pytest.raises(error):
        do(tmp_path)
    saved(clean_ct(), tmp_path / "scan.nii.gz")
    before = sorted(tmp_path.rglob("*"))
    call = ["embed", str(tmp_path / "scan.nii.gz"), "--model", str(tmp_path / "model"), "-o", str(tmp_path / "f.csv")]
    result = CliRunner().invoke(app, call)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.search(message, result.stderr)
    assert sorted(tmp_path.rglob("*")) == before
