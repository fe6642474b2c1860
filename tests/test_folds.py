import numpy as np
import pytest

from drasclr_core.errors import InputError
from drasclr_core.folds import assign_folds, read_folds, write_folds


def ids_of(count):
    return [f"s{number:03d}" for number in range(count)]


def test_folds_are_balanced_cover_everybody_and_do_not_depend_on_the_order():
    folds = assign_folds(ids_of(23), 5, seed=3)
    assert sorted(folds) == ids_of(23)
    assert sorted(np.bincount(list(folds.values()))) == [4, 4, 5, 5, 5]
    assert assign_folds(reversed(ids_of(23)), 5, seed=3) == folds
    assert assign_folds(ids_of(23), 5, seed=4) != folds


def test_folds_survive_their_file(tmp_path):
    folds = assign_folds(ids_of(11), 5, seed=1)
    write_folds(folds, tmp_path / "folds.tsv")
    assert (tmp_path / "folds.tsv").read_text().startswith("participant_id\tfold\ns000\t")
    assert read_folds(tmp_path / "folds.tsv") == folds


@pytest.mark.parametrize(
    ("ids", "folds", "message"),
    [(["a", "a", "b"], 2, "twice"), (["a", "b"], 3, "from 2 to the 2"), (["a", "b"], 1, "from 2")],
)
def test_folds_say_what_is_wrong(ids, folds, message):
    with pytest.raises(InputError, match=message):
        assign_folds(ids, folds, seed=0)
