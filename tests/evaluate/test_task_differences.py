import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score

from drasclr_core.base.errors import InputError
from drasclr_core.evaluate.task_differences import compare_task

RNG = np.random.default_rng(0)
IDS = [f"s{place:02d}" for place in range(30)]


def evaluation(truth, prediction, metrics, run="a", task="gold", ids=IDS, persons=None):
    places = np.array_split(RNG.permutation(len(ids)), 3)
    persons = np.arange(len(ids)) if persons is None else persons
    values = {"ids": np.array(ids), "persons": persons, "truth": truth, "prediction": prediction}
    folds = [{name: each[part].tolist() for name, each in values.items()} for part in places]
    return {"run": run, "task": task, "folds": folds, "summary": dict.fromkeys(metrics)}


def test_estimates_are_the_pooled_metrics():
    truth = RNG.integers(0, 5, 30).astype(float)
    ours, theirs = truth + RNG.integers(-1, 2, 30), truth + RNG.integers(-3, 4, 30)
    metrics = ("accuracy", "within_one")
    found = compare_task(evaluation(truth, ours, metrics), evaluation(truth, theirs, metrics), seed=0)
    accuracy = found["metrics"]["accuracy"]
    assert accuracy["run"]["estimate"] == pytest.approx(accuracy_score(truth, ours))
    assert accuracy["reference"]["estimate"] == pytest.approx(accuracy_score(truth, theirs))
    expected = np.mean(np.abs(truth - ours) <= 1) - np.mean(np.abs(truth - theirs) <= 1)
    assert found["metrics"]["within_one"]["difference"]["estimate"] == pytest.approx(expected)
    assert found["n"] == 30


def test_intervals_are_those_of_a_plain_paired_bootstrap():
    truth = RNG.normal(size=30)
    ours, theirs = truth + 0.3 * RNG.normal(size=30), truth + 0.9 * RNG.normal(size=30)
    found = compare_task(evaluation(truth, ours, ["r2"]), evaluation(truth, theirs, ["r2"]), seed=1)["metrics"]["r2"]
    assert found["run"]["estimate"] == pytest.approx(r2_score(truth, ours))
    rng = np.random.default_rng(5)
    differences = []
    for _ in range(2000):
        drawn = rng.integers(0, 30, 30)
        differences.append(r2_score(truth[drawn], ours[drawn]) - r2_score(truth[drawn], theirs[drawn]))
    assert found["difference"]["low"] == pytest.approx(np.quantile(differences, 0.025), abs=0.06)
    assert found["difference"]["high"] == pytest.approx(np.quantile(differences, 0.975), abs=0.15)
    assert found["difference"]["low"] > 0


@pytest.mark.parametrize(("metric", "task"), [("r2", "log_fev1pp"), ("within_one", "gold")])
def test_persons_are_drawn_with_all_their_scans(metric, task):
    persons = np.arange(30) // 3
    truth = RNG.integers(0, 5, 10).repeat(3).astype(float)
    ours, theirs = truth + RNG.normal(size=10).repeat(3), truth + 2 * RNG.normal(size=10).repeat(3)
    found, single = (
        compare_task(*(evaluation(t, each, [metric], task=task, ids=i, persons=p) for each in pair), seed=2)
        for t, i, p, pair in [
            (truth, IDS, persons, (ours, theirs)),
            (truth[::3], IDS[::3], np.arange(10), (ours[::3], theirs[::3])),
        ]
    )
    # Three equal scans of each person say what one says, no more.
    for name, each in single["metrics"][metric].items():
        for figure in ("estimate", "low", "high"):
            assert found["metrics"][metric][name][figure] == pytest.approx(each[figure], abs=1e-12)


def test_a_run_does_not_differ_from_itself():
    truth = RNG.normal(size=30)
    same = evaluation(truth, truth + 1, ["r2"])
    difference = compare_task(same, same, seed=0)["metrics"]["r2"]["difference"]
    assert (difference["estimate"], difference["low"], difference["high"]) == (0, 0, 0)


def test_a_task_without_labels_is_undefined():
    nothing = {"run": "a", "task": "cle", "folds": [], "summary": {"accuracy": None}}
    assert compare_task(nothing, nothing, seed=0)["metrics"]["accuracy"]["difference"]["estimate"] is None


def test_other_subjects_are_refused():
    truth = RNG.normal(size=30)
    ours = evaluation(truth, truth, ["r2"])
    others = evaluation(truth, truth, ["r2"], run="b", ids=[f"t{place:02d}" for place in range(30)])
    with pytest.raises(InputError, match="a / gold and b / gold"):
        compare_task(ours, others, seed=0)
