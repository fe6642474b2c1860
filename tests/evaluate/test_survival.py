"""The evaluation of survival: no leak, the right direction, and a clear word where nothing can be said."""

import json

import numpy as np
import pandas as pd
import pytest

from drasclr_core.base.errors import InputError
from drasclr_core.evaluate.concordance import Outcome, concordance, uno_weights
from drasclr_core.evaluate.survival import METRICS, RESAMPLES, evaluate_survival

FOLDS = 3


@pytest.fixture(scope="module", autouse=True)
def few_fits():
    """Choose among few penalties: the choice is tested in test_survival_model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("drasclr_core.evaluate.survival_model.PENALTIES", (0.01, 1.0))
        patch.setattr("drasclr_core.evaluate.survival_model.CONFOUNDER_PENALTIES", (0.1,))
        patch.setattr("drasclr_core.evaluate.survival_model.INNER_FOLDS", 3)
        yield


def cohort(n=120, seed=0, effect=1.5):
    """Return participants, features and folds; the first feature raises the hazard, whatever else is noise."""
    rng = np.random.default_rng(seed)
    ids = [f"s{index:03d}" for index in range(n)]
    features = rng.normal(size=(n, 3))
    death = 2000 * rng.exponential(np.exp(-effect * features[:, 0]))
    end = rng.uniform(500, 3000, n)
    participants = pd.DataFrame(
        {
            "participant_id": ids,
            "age_years": rng.normal(60, 8, n).round(1),
            "sex": rng.choice(["F", "M"], n),
            "race": rng.choice(["Black", "White"], n),
            "smoking_status": rng.choice(["never", "former", "current"], n),
            "pack_years": rng.gamma(4, 10, n),
            "fev1pp": rng.normal(80, 10, n) - 10 * features[:, 0],
            "fev1_fvc": np.full(n, np.nan),
            "bode": np.full(n, np.nan),
            "followup_days": np.ceil(np.minimum(death, end)),
            "died": (death <= end).astype(float),
        }
    )
    frame = pd.DataFrame(features.astype(np.float32), columns=["f0", "f1", "f2"])
    return (
        participants,
        frame.assign(participant_id=ids, fold=-1),
        {id_: index % FOLDS for index, id_ in enumerate(ids)},
    )


def evaluate(participants, features, folds, variant="imaging", seed=0):
    return evaluate_survival(variant, participants, features, folds, run="own", seed=seed)


def without_features(features):
    return features[["participant_id", "fold"]]


@pytest.fixture(scope="module")
def found():
    return evaluate(*cohort())


def test_a_feature_that_kills_gives_high_concordance_and_high_risk(found):
    assert found["summary"]["uno_p50"]["mean"] > 0.75
    assert found["summary"]["harrell_p50"]["mean"] > 0.75
    participants, features, _ = cohort()
    risk = pd.Series(
        {id_: risk for fold in found["folds"] for id_, risk in zip(fold["ids"], fold["risk"], strict=True)}
    )
    assert np.corrcoef(risk[features["participant_id"]], features["f0"])[0, 1] > 0.8
    survival = np.concatenate([fold["survival"] for fold in found["folds"]])
    assert np.corrcoef(survival, np.concatenate([fold["risk"] for fold in found["folds"]]))[0, 1] < -0.8


def test_shuffled_outcomes_give_chance():
    means = []
    for seed in range(4):
        participants, features, folds = cohort(seed=seed)
        order = np.random.default_rng(seed + 50).permutation(len(participants))
        participants[["followup_days", "died"]] = participants[["followup_days", "died"]].to_numpy()[order]
        means.append(evaluate(participants, features, folds)["pooled"]["harrell_p75"])
    assert np.mean(means) == pytest.approx(0.5, abs=0.07)


def test_a_held_out_subjects_outcome_does_not_change_its_fold(found):
    participants, features, folds = cohort()
    first = found["folds"][0]
    held_out = participants["participant_id"].isin(first["ids"])
    participants.loc[held_out, "died"] = 1 - participants.loc[held_out, "died"]
    again = evaluate(participants, features, folds)["folds"][0]
    assert again["risk"] == first["risk"]
    assert again["died"] != first["died"]


def test_a_held_out_subject_changes_nobody_elses_risk(found):
    participants, features, folds = cohort()
    features.loc[0, ["f0", "f1", "f2"]] = 50.0  # s000 is of fold 0
    participants.loc[0, "age_years"] = 20.0
    again = evaluate(participants, features, folds)["folds"][0]
    assert again["risk"][1:] == found["folds"][0]["risk"][1:]
    assert again["risk"][0] != found["folds"][0]["risk"][0]


def test_every_subject_is_judged_once_and_by_its_own_fold(found):
    _, _, folds = cohort()
    assert sorted(id_ for fold in found["folds"] for id_ in fold["ids"]) == sorted(folds)
    assert all(folds[id_] == fold["fold"] for fold in found["folds"] for id_ in fold["ids"])
    assert found["n"] == 120
    assert found["n_left_out"] == 0


def test_metrics_are_those_of_the_stored_risks(found):
    outcomes = [Outcome(np.array(f["followup_days"]), np.array(f["died"]) == 1) for f in found["folds"]]
    horizons = list(found["horizons_days"].values())
    for k, fold in enumerate(found["folds"]):
        others = [outcome for index, outcome in enumerate(outcomes) if index != k]
        training = Outcome(*(np.concatenate([getattr(o, name) for o in others]) for name in ("time_days", "died")))
        weights = uno_weights(outcomes[k].time_days, training)
        expected = concordance(np.array(fold["risk"]), outcomes[k], horizons, weights)[0]
        assert [fold["metrics"][f"uno_p{p}"] for p in (25, 50, 75)] == expected.tolist()
    for metric in METRICS:
        mean = np.mean([fold["metrics"][metric] for fold in found["folds"]])
        assert found["summary"][metric]["mean"] == pytest.approx(mean, rel=1e-12)


def test_the_standard_error_is_that_of_subjects_drawn_anew(found):
    rng = np.random.default_rng(9)
    means = []
    for _ in range(400):
        values = []
        for fold in found["folds"]:
            drawn = rng.integers(0, fold["n_test"], fold["n_test"])
            outcome = Outcome(np.array(fold["followup_days"])[drawn], np.array(fold["died"])[drawn] == 1)
            horizon = found["horizons_days"]["p50"]
            values.append(concordance(np.array(fold["risk"])[drawn], outcome, [horizon])[0, 0])
        means.append(np.mean(values))
    assert found["summary"]["harrell_p50"]["sd"] == pytest.approx(np.std(means, ddof=1), rel=0.15)
    assert str(RESAMPLES) in " ".join(found["notes"])


def test_persons_are_drawn_anew_with_all_their_scans(monkeypatch):
    monkeypatch.setattr("drasclr_core.evaluate.survival_model.PENALTIES", (0.1,))  # nothing to choose: the same models
    participants, features, folds = cohort(n=60)
    twins = [
        table.assign(participant_id=table["participant_id"].str.replace("s", "t")) for table in (participants, features)
    ]
    folds |= {name.replace("s", "t"): fold for name, fold in folds.items()}
    features = pd.concat([features, twins[1]])
    once, twice = (
        evaluate(pd.concat([participants.assign(person=person), twins[0].assign(person=person)]), features, folds)
        for person in (participants["participant_id"].str.upper(), None)
    )
    # Sixty people scanned twice are no more than sixty; as 120 people they would seem to say more.
    assert once["pooled"] == twice["pooled"]
    for metric in ("harrell_p50", "harrell_p75", "uno_p75"):
        ratio = once["summary"][metric]["sd"] / twice["summary"][metric]["sd"]
        assert ratio == pytest.approx(np.sqrt(2), rel=0.1)
    assert "survival, imaging: 120 scans of 60 persons." in once["notes"]
    assert not [note for note in twice["notes"] if "persons" in note]


def test_horizons_are_percentiles_of_the_follow_up_of_the_censored():
    participants, features, folds = cohort()
    days = sorted(participants.loc[participants["died"] == 0, "followup_days"])
    middle = days[len(days) // 2] if len(days) % 2 else (days[len(days) // 2 - 1] + days[len(days) // 2]) / 2
    horizons = evaluate(participants, without_features(features), folds)["horizons_days"]
    assert horizons["p50"] == middle
    place = 0.25 * (len(days) - 1)
    low = days[int(place)]
    assert horizons["p25"] == pytest.approx(low + (place % 1) * (days[int(place) + 1] - low))


def test_horizons_do_not_depend_on_who_has_features_or_covariates():
    participants, features, folds = cohort()
    whole = evaluate(participants, without_features(features), folds)
    participants.loc[:20, "pack_years"] = np.nan
    part = evaluate(participants, without_features(features)[10:], folds)
    assert part["horizons_days"] == whole["horizons_days"]


def test_a_subject_without_a_covariate_is_left_out_and_counted():
    participants, features, folds = cohort()
    participants.loc[3, "pack_years"] = np.nan
    participants.loc[4, ["died", "followup_days"]] = np.nan
    participants.loc[5, "race"] = None
    found = evaluate(participants, without_features(features), folds)
    assert (found["n"], found["n_left_out"]) == (117, 3)
    assert not {"s003", "s004", "s005"} & {id_ for fold in found["folds"] for id_ in fold["ids"]}
    note = next(note for note in found["notes"] if note.startswith("Left out of the variant imaging"))
    assert note.endswith("died 1, followup_days 1, race 1, pack_years 1.")


def test_absent_columns_are_said_and_left_out():
    participants, features, folds = cohort()
    found = evaluate(participants.drop(columns="race"), without_features(features), folds, "spirometry")
    assert found["reason"] is None
    assert "Not in the participants table, so in no model: race." in found["notes"]
    assert "Not in the participants table, so not in the model of spirometry: fev1_fvc." in found["notes"]
    assert found["summary"]["uno_p50"]["mean"] > 0.55  # fev1pp


@pytest.mark.parametrize(
    ("variant", "spoil", "reason"),
    [
        ("bode", lambda p: p, "bode: the participants table has no bode"),
        (
            "hand_designed_bode",
            lambda p: p.assign(pi10_mm=3.6),
            "hand_designed_bode: the participants table has no bode",
        ),
        ("imaging", lambda p: p.drop(columns="died"), "the participants table has no column died"),
        ("imaging", lambda p: p.assign(died=np.nan, followup_days=np.nan), "no column died and followup_days"),
        ("imaging", lambda p: p.assign(died=1.0), "no participant is censored"),
        (
            "imaging",
            lambda p: p.assign(died=(p.index < 3).astype(float)),
            "3 of 120 subjects died, so that some fold has 2",
        ),
    ],
)
def test_what_cannot_be_evaluated_says_why(variant, spoil, reason):
    participants, features, folds = cohort()
    found = evaluate(spoil(participants), features, folds, variant)
    assert reason in found["reason"]
    assert found["folds"] == []
    assert found["summary"] == {metric: {"mean": None, "sd": None} for metric in METRICS}
    json.dumps(found, allow_nan=False)


def test_a_fold_without_deaths_is_undefined_and_said():
    participants, features, folds = cohort()
    first = participants["participant_id"].map(folds) == 0
    participants.loc[first, "died"] = 0.0
    found = evaluate(participants, without_features(features), folds)
    assert found["folds"][0]["metrics"] == dict.fromkeys(METRICS)
    assert found["summary"]["uno_p50"]["mean"] == pytest.approx(
        np.mean([fold["metrics"]["uno_p50"] for fold in found["folds"][1:]])
    )
    assert any("no death comparable" in note and note.endswith("in fold 0.") for note in found["notes"])
    json.dumps(found, allow_nan=False)


def test_a_fold_of_which_nobody_can_be_used_does_not_count():
    participants, features, folds = cohort()
    first = participants["participant_id"].map(folds) == 0
    participants.loc[first, "age_years"] = np.nan
    found = evaluate(participants, without_features(features), folds)
    assert found["folds"][0]["n_test"] == 0
    values = [fold["metrics"]["uno_p50"] for fold in found["folds"][1:]]
    assert found["summary"]["uno_p50"]["mean"] == pytest.approx(np.mean(values))
    assert found["summary"]["uno_p50"]["sd"] > 0


def test_few_deaths_still_give_finite_risks():
    participants, features, folds = cohort()
    dead = participants.index[participants["died"] == 1][:9]
    participants["died"] = participants.index.isin(dead).astype(float)
    found = evaluate(participants, features, folds)
    assert found["reason"] is None
    assert all(np.isfinite(fold["risk"]).all() for fold in found["folds"])


def test_constant_features_are_no_features():
    participants, features, folds = cohort()
    constant = evaluate(participants, features.assign(f0=1.0, f1=-2.0, f2=0.1), folds)
    none = evaluate(participants, without_features(features), folds)
    assert constant["summary"] == none["summary"]
    assert [fold["penalty"] for fold in none["folds"]] == [None] * FOLDS


def test_features_of_each_fold_are_used_where_they_differ():
    participants, features, folds = cohort()
    blocks = [features.assign(fold=fold) for fold in range(FOLDS)]
    for block in blocks[1:]:
        block[["f0", "f1", "f2"]] = 0.0
    found = evaluate(participants, pd.concat(blocks), folds)
    assert found["folds"][0]["risk"] == evaluate(participants, features, folds)["folds"][0]["risk"]
    assert found["folds"][1]["penalty"] is None


def test_the_result_is_json_and_repeats_itself(found):
    json.dumps(found, allow_nan=False)
    assert evaluate(*cohort()) == found
    assert found["risk_groups"]["groups"][0]["deaths"] < found["risk_groups"]["groups"][2]["deaths"]
    assert found["risk_groups"]["log_rank"]["p"] < 1e-3
    assert found["calibration"]["horizon_days"] == found["horizons_days"]["p50"]


def test_unknown_variants_and_bad_features_are_refused():
    participants, features, folds = cohort()
    with pytest.raises(InputError, match="'bodes' is no variant of survival; they are imaging"):
        evaluate(participants, features, folds, "bodes")
    with pytest.raises(InputError, match="not finite"):
        evaluate(participants, features.assign(f0=np.nan), folds)
