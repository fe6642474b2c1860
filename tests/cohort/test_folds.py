import numpy as np
import pytest

from drasclr_core.base.errors import InputError
from drasclr_core.cohort.folds import assign_folds, read_folds, write_folds


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


@pytest.mark.parametrize("named", [False, True], ids=["no column", "all different"])
@pytest.mark.parametrize(("count", "folds", "seed"), [(23, 5, 3), (40, 5, 0), (7, 7, 1), (9, 2, 8)])
def test_folds_of_people_with_one_scan_are_dealt_in_turn(count, folds, seed, named):
    order = np.random.default_rng(seed).permutation(count)
    dealt = {ids_of(count)[index]: place % folds for place, index in enumerate(order)}
    persons = {name: f"{count - place:03d}" for place, name in enumerate(ids_of(count))} if named else None
    assert assign_folds(ids_of(count), folds, seed, persons) == dealt


def test_scans_of_a_person_share_a_fold_and_sizes_stay_near():
    rng = np.random.default_rng(5)
    for trial in range(60):
        count, folds = int(rng.integers(12, 60)), int(rng.integers(2, 6))
        persons = {name: f"p{rng.integers(6 + trial)}" for name in ids_of(count)}
        if len(set(persons.values())) < folds:
            continue
        dealt = assign_folds(ids_of(count), folds, trial, persons)
        assert set(dealt) == set(persons)
        assert all(dealt[a] == dealt[b] for a in persons for b in persons if persons[a] == persons[b])
        sizes = np.bincount(list(dealt.values()), minlength=folds)
        assert np.ptp(sizes) <= max(list(persons.values()).count(name) for name in persons.values())
        assert assign_folds(list(persons)[::-1], folds, trial, persons) == dealt


def test_single_scans_even_out_what_a_person_of_many_leaves():
    persons = {name: "many" if place < 4 else name for place, name in enumerate(ids_of(20))}
    for seed in range(20):
        dealt = assign_folds(ids_of(20), 5, seed, persons)
        assert sorted(np.bincount(list(dealt.values()))) == [4] * 5
        assert len({dealt[name] for name in ids_of(4)}) == 1


@pytest.mark.parametrize(
    ("ids", "folds", "message"),
    [(["a", "a", "b"], 2, "twice"), (["a", "b"], 3, "from 2 to the 2"), (["a", "b"], 1, "from 2")],
)
def test_folds_say_what_is_wrong(ids, folds, message):
    with pytest.raises(InputError, match=message):
        assign_folds(ids, folds, seed=0)


def test_more_folds_than_persons_are_refused():
    with pytest.raises(InputError, match="evaluation.folds is 3, but must be from 2 to the 2 persons of the cohort"):
        assign_folds(["a", "b", "c"], 3, seed=0, persons={"a": "x", "b": "x", "c": "c"})
