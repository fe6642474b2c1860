"""Jobs that cannot do their work fail clearly; nothing of a hostile file is executed, nothing half-written is left."""

import pytest
from hostile_job import CASES


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
