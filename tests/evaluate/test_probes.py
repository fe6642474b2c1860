import json

import numpy as np
import pandas as pd
import pytest
from toy_labels import cohort, features_frame, ids_of

from drasclr_core.base.errors import InputError
from drasclr_core.config.tasks import TASKS
from drasclr_core.evaluate.probes import evaluate_task, task_labels

READOUTS = ["plain", "penalised"]


def evaluate(name, data, readout="plain", seed=0):
    return evaluate_task(name, *data, run="toy", readout=readout, seed=seed)


def predictions(result):
    return {
        participant: value
        for fold in result["folds"]
        for participant, value in zip(fold["ids"], fold["prediction"], strict=True)
    }


# Labels


def test_labels_by_hand():
    participants = pd.DataFrame(
        {
            "participant_id": ["b", "a", "c", "d"],
            "fev1pp": [100.0, np.e, np.nan, 50.0],
            "gold": [-1.0, 0, 4, np.nan],
            "exacerbations": [0.0, 1, 7, np.nan],
        }
    )
    assert task_labels("log_fev1pp", participants).to_dict() == pytest.approx(
        {"a": 1, "b": np.log(100), "d": np.log(50)}
    )
    assert task_labels("gold", participants).to_dict() == {"a": 0, "c": 4}  # PRISm and the missing cell are absent
    assert task_labels("ae_history", participants).to_dict() == {"a": 1, "b": 0, "c": 1}
    assert task_labels("cle", participants).empty


def test_labels_of_nullable_columns_are_read_too():
    participants = pd.DataFrame({"participant_id": ["a", "b"], "cle": pd.array([3, None], dtype="Int64")})
    assert task_labels("cle", participants).to_dict() == {"a": 3}


@pytest.mark.parametrize(
    ("name", "column", "value", "message"),
    [
        ("log_fev1pp", "fev1pp", 0, "fev1pp must be above 0: a has 0"),
        ("gold", "gold", 5, "gold must be one of 0, 1, 2, 3, 4: a has 5"),
        ("paraseptal", "paraseptal", -1, "a has -1"),
        ("ae_history", "exacerbations", -2, "0 or more: a has -2"),
    ],
)
def test_labels_that_no_task_knows_are_refused(name, column, value, message):
    with pytest.raises(InputError, match=message):
        task_labels(name, pd.DataFrame({"participant_id": ["a", "b"], column: [value, 1]}))


# Agreement with independent code


def test_plain_regression_agrees_with_the_normal_equations():
    data = participants, features, folds = cohort()
    result = evaluate("log_fev1pp", data)
    inputs = np.column_stack([np.ones(60), features[["f0", "f1", "f2"]].to_numpy(float)])
    truth = np.log(participants["fev1pp"].to_numpy())
    fold_of = np.array([folds[i] for i in ids_of(60)])
    scores = []
    for fold in result["folds"]:
        train, test = fold_of != fold["fold"], fold_of == fold["fold"]
        expected = inputs[test] @ np.linalg.solve(inputs[train].T @ inputs[train], inputs[train].T @ truth[train])
        np.testing.assert_allclose(fold["prediction"], expected, rtol=1e-6)
        np.testing.assert_allclose(fold["truth"], truth[test])
        scores.append(1 - np.sum((truth[test] - expected) ** 2) / np.sum((truth[test] - truth[test].mean()) ** 2))
    assert result["summary"]["r2"]["mean"] == pytest.approx(np.mean(scores), rel=1e-6)
    assert result["summary"]["r2"]["sd"] == pytest.approx(np.std(scores, ddof=1), rel=1e-6)


def test_the_penalty_is_chosen_in_inner_folds_by_person():
    rng = np.random.default_rng(3)
    inputs, label = rng.normal(size=(30, 40)).repeat(2, axis=0), np.exp(rng.normal(size=30)).repeat(2)
    table = pd.DataFrame({"participant_id": ids_of(60), "fev1pp": label})
    features = pd.DataFrame(inputs, columns=[f"f{i}" for i in range(40)]).assign(participant_id=ids_of(60), fold=-1)
    folds = {name: place // 2 % 5 for place, name in enumerate(ids_of(60))}
    person = [f"p{place // 2}" for place in range(60)]
    by_scan, by_person, all_different = (
        evaluate("log_fev1pp", (each, features, folds), readout="penalised")
        for each in (table, table.assign(person=person), table.assign(person=ids_of(60)[::-1]))
    )
    assert all_different == by_scan
    assert max(fold["penalty"] for fold in by_scan["folds"]) < min(fold["penalty"] for fold in by_person["folds"])
    assert by_person["notes"] == ["log_fev1pp: 60 scans of 30 persons."]
    assert [fold["persons"][:4] for fold in by_person["folds"]][:2] == [[0, 0, 5, 5], [1, 1, 6, 6]]


# What every evaluation must hold


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("readout", READOUTS)
def test_every_task_finds_the_signal_and_is_json(name, readout):
    result = evaluate(name, cohort(), readout)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert (result["task"], result["run"], result["readout"], result["n"]) == (name, "toy", readout, 60)
    assert set(result["summary"]) == set(result["pooled"]) == set(TASKS[name].metrics)
    first = TASKS[name].metrics[0]
    assert result["pooled"][first] > 0.5
    assert all(fold["converged"] for fold in result["folds"])
    assert all((fold["penalty"] > 0) == (readout == "penalised") for fold in result["folds"])


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("name", ["log_fev1pp", "gold", "ae_history"])
def test_shuffled_labels_give_chance(name, readout):
    participants, features, folds = cohort(count=200)
    column = TASKS[name].column
    participants[column] = np.random.default_rng(5).permutation(participants[column])
    score = evaluate(name, (participants, features, folds), readout)["pooled"][TASKS[name].metrics[0]]
    labels = task_labels(name, participants)
    chance = 0 if name == "log_fev1pp" else labels.value_counts(normalize=True).max()
    assert score < chance + 0.08
    assert evaluate(name, cohort(count=200), readout)["pooled"][TASKS[name].metrics[0]] > chance + 0.25


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("name", ["log_fev1pp", "gold"])
def test_nothing_of_a_held_out_subject_reaches_the_predictions_of_its_fold(name, readout):
    participants, features, folds = cohort()
    before = predictions(evaluate(name, (participants, features, folds), readout))
    features.loc[7, ["f0", "f1", "f2"]] = [1e4, -1e4, 1e4]
    participants.loc[7, ["fev1pp", "gold"]] = [1.0, 4]
    after = predictions(evaluate(name, (participants, features, folds), readout))
    fold_mates = [i for i in folds if folds[i] == folds["s007"] and i != "s007"]
    others = [i for i in folds if folds[i] != folds["s007"]]
    assert [before[i] for i in fold_mates] == [after[i] for i in fold_mates]
    assert [before[i] for i in others] != [after[i] for i in others]  # the change was not without effect


def test_folds_of_a_result_are_disjoint_and_the_given_ones():
    participants, features, folds = cohort()
    result = evaluate("gold", (participants, features, folds))
    assert {i: fold["fold"] for fold in result["folds"] for i in fold["ids"]} == folds
    assert sum(fold["n_test"] for fold in result["folds"]) == 60
    assert all(fold["n_train"] + fold["n_test"] == 60 for fold in result["folds"])


def test_order_of_rows_changes_nothing():
    participants, features, folds = cohort()
    mixed = participants.sample(frac=1, random_state=1), features.sample(frac=1, random_state=2), folds
    ordered = participants, features, folds
    assert evaluate("log_fev1pp", ordered, "penalised") == evaluate("log_fev1pp", mixed, "penalised")
    assert evaluate("gold", ordered) == evaluate("gold", mixed)


def test_missing_labels_drop_the_subject_from_that_task_only():
    participants, features, folds = cohort()
    participants.loc[[3, 4], "gold"] = [np.nan, -1]
    gold = evaluate("gold", (participants, features, folds))
    assert (gold["n"], gold["n_unlabelled"]) == (58, 2)
    assert not {"s003", "s004"} & set(predictions(gold))
    assert evaluate("cle", (participants, features, folds))["n"] == 60


def test_excluded_subjects_have_no_features_and_move_nobody():
    participants, features, folds = cohort()
    result = evaluate("cle", (participants, features[features["participant_id"] != "s010"], folds))
    assert (result["n"], result["n_unlabelled"]) == (59, 0)
    assert {i: fold["fold"] for fold in result["folds"] for i in fold["ids"]}.items() <= folds.items()


def test_features_of_a_fold_are_those_fitted_without_it():
    participants, features, folds = cohort()
    noise = np.random.default_rng(9).normal(size=(60, 3))
    blocks = [features.assign(fold=0), *(features_frame(noise, fold=fold) for fold in range(1, 5))]
    result = evaluate("log_fev1pp", (participants, pd.concat(blocks, ignore_index=True), folds))
    scores = [fold["metrics"]["r2"] for fold in result["folds"]]
    assert scores[0] > 0.7
    assert max(scores[1:]) < 0.3
    assert (result["n"], result["n_unlabelled"]) == (60, 0)


# Adversarial cohorts


@pytest.mark.parametrize("readout", READOUTS)
def test_a_class_that_one_fold_alone_has_is_never_predicted_there(readout):
    participants, features, folds = cohort()
    participants["gold"] = np.where([folds[i] == 2 for i in ids_of(60)], 4.0, np.minimum(participants["gold"], 3))
    result = evaluate("gold", (participants, features, folds), readout)
    assert 4 not in result["folds"][2]["prediction"]
    assert result["folds"][2]["metrics"]["accuracy"] == 0


@pytest.mark.parametrize("readout", READOUTS)
def test_a_single_class_is_predicted_as_such(readout):
    participants, features, folds = cohort()
    participants["exacerbations"] = np.where([folds[i] == 1 for i in ids_of(60)], 2.0, 0.0)
    result = evaluate("ae_history", (participants, features, folds), readout)
    assert set(result["folds"][1]["prediction"]) == {0}
    participants["exacerbations"] = 3.0
    assert evaluate("ae_history", (participants, features, folds), readout)["summary"]["accuracy"] == {
        "mean": 1,
        "sd": 0,
    }


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("name", ["log_fev1pp", "cle"])
def test_more_features_than_subjects(name, readout):
    participants, _, folds = cohort(count=25)
    features = features_frame(np.random.default_rng(0).normal(size=(25, 100)))
    result = evaluate(name, (participants, features, folds), readout)
    assert len(predictions(result)) == 25


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("name", ["log_fev1pp", "cle"])
def test_features_that_do_not_vary(name, readout):
    participants, _, folds = cohort()
    result = evaluate(name, (participants, features_frame(np.full((60, 4), 0.1)), folds), readout)
    assert result["pooled"][TASKS[name].metrics[0]] < 0.5


def test_rare_classes_that_the_inner_folds_lack():
    participants, features, folds = cohort(count=30)
    participants["cle"] = 0.0
    participants.loc[[0, 1], "cle"] = [5, 3]
    result = evaluate("cle", (participants, features, folds), "penalised")
    assert result["pooled"]["accuracy"] >= 0.9


def test_a_constant_label_has_no_r2():
    participants, features, folds = cohort()
    participants["fev1pp"] = 70.0
    result = evaluate("log_fev1pp", (participants, features, folds), "penalised")
    assert result["summary"]["r2"] == {"mean": None, "sd": None}
    assert result["pooled"]["r2"] is None


def test_a_fold_without_labels_is_left_out_of_the_mean():
    participants, features, folds = cohort()
    participants.loc[[folds[i] == 4 for i in ids_of(60)], "gold"] = np.nan
    result = evaluate("gold", (participants, features, folds))
    assert result["folds"][4]["metrics"] == {"accuracy": None, "within_one": None}
    scores = [fold["metrics"]["accuracy"] for fold in result["folds"][:4]]
    assert result["summary"]["accuracy"]["mean"] == pytest.approx(np.mean(scores))


@pytest.mark.parametrize("readout", READOUTS)
def test_one_labelled_subject_per_fold(readout):
    participants, features, folds = cohort()
    kept = {next(i for i in folds if folds[i] == fold) for fold in (0, 1)}
    participants.loc[~participants["participant_id"].isin(kept), ["gold", "fev1pp"]] = np.nan
    for name in ("gold", "log_fev1pp"):
        result = evaluate(name, (participants, features, folds), readout)
        assert result["n"] == 2
        assert [fold["n_test"] for fold in result["folds"]] == [1, 1, 0, 0, 0]


def test_what_cannot_be_evaluated_says_why():
    participants, features, folds = cohort()
    absent = evaluate("cle", (participants.drop(columns="cle"), features, folds))
    assert absent["reason"] == "the participants table has no column cle"
    assert (absent["n"], absent["folds"], absent["summary"]["accuracy"]) == (0, [], {"mean": None, "sd": None})
    participants["cle"] = np.where(participants["participant_id"] == "s005", 2, np.nan)
    assert evaluate("cle", (participants, features, folds))["reason"] == "1 subjects with cle, too few for two folds"


# Messages


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda features: features.assign(f1=np.nan), "not finite: s000, s001, s002, s003, s004 and 55 more"),
        (lambda features: pd.concat([features, features[:2]]), "stand twice: s000, s001"),
        (lambda features: features.assign(fold=7), r"of folds \[7\]"),
        (lambda features: features[:0], "empty"),
        (lambda features: features.assign(participant_id=["x9", *ids_of(60)[1:]]), "No fold is assigned to x9"),
        (
            lambda features: pd.concat([features[fold:].assign(fold=fold) for fold in range(5)]),
            "lack subjects that other folds have",
        ),
    ],
)
def test_features_that_cannot_be_used_are_refused(change, message):
    participants, features, folds = cohort()
    with pytest.raises(InputError, match=message):
        evaluate("gold", (participants, change(features), folds))


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="'golf' is no task; the tasks are log_fev1pp"):
        evaluate("golf", cohort())
    with pytest.raises(InputError, match="readout is 'svm', but must be plain or penalised"):
        evaluate("gold", cohort(), "svm")


def test_a_readout_that_stops_early_says_so(monkeypatch):
    monkeypatch.setattr("drasclr_core.evaluate.readout.MAX_ITERATIONS", 1)
    result = evaluate("gold", cohort())
    assert not any(fold["converged"] for fold in result["folds"])
