from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module

import numpy as np
import pytest

from drasclr_core.base.errors import InputError
from drasclr_core.base.files import Record
from drasclr_core.methods import METHODS, embed_cohort, load_method
from drasclr_core.methods.kmeans import HistogramWords

# A pretrained method has a stage of its own, and is tested there; one without features breaks the contract.
PARAMS = {"laa950": {}, "histogram": {"scales": 3}, "kmeans": {"words": 3, "bins": 16, "max_patches": 60}}


@dataclass(frozen=True)
class ToySubject:
    """Stands in for Subject: patches are healthy (-850 HU) or, in a share of them, emphysema (-970 HU)."""

    participant_id: str
    seed: int
    diseased: float = 0.5
    reads: list = field(default_factory=list)

    @cached_property
    def patches(self):
        self.reads.append(self.participant_id)
        rng = np.random.default_rng(self.seed)
        centres = np.where(np.arange(20) < 20 * self.diseased, -970, -850)
        return (centres[:, None, None, None] + rng.normal(0, 25, size=(20, 8, 8, 8))).astype(np.int16)

    @property
    def valid(self):
        return np.arange(20) != 19

    def record(self, stage):
        return Record(self.participant_id, stage, "ok", metrics={"laa950_pct": 100 * self.diseased})


def cohort(count=10):
    return [ToySubject(f"s{i}", seed=i, diseased=i / count) for i in range(count)]


FOLDS = {f"s{i}": i % 5 for i in range(10)}


def test_every_method_that_is_fitted_here_is_under_contract():
    assert set(PARAMS) == set(METHODS) - {"drasclr", "no_image"}


@pytest.mark.parametrize("name", PARAMS)
def test_contract(name):
    method, again = load_method(name, PARAMS[name]), load_method(name, PARAMS[name])
    subjects = cohort()
    method.fit(subjects[:8], seed=1)
    again.fit(subjects[5:], seed=2)  # a second fit forgets the first
    again.fit(subjects[:8][::-1], seed=1)
    features = np.stack([method.embed(subject) for subject in subjects])
    assert features.dtype == np.float32
    assert features.ndim == 2
    assert np.isfinite(features).all()
    assert len(np.unique(features, axis=0)) > 1
    assert np.array_equal(features, np.stack([again.embed(subject) for subject in subjects]))


@pytest.mark.parametrize("name", PARAMS)
def test_embed_cohort_has_every_subject_in_every_block(name):
    frame = embed_cohort(name, PARAMS[name], cohort()[::-1], FOLDS, seed=0)
    blocks = {fold: list(block["participant_id"]) for fold, block in frame.groupby("fold")}
    assert set(blocks) == ({-1} if import_module(METHODS[name]).FITTED == "never" else set(range(5)))
    assert all(ids == sorted(FOLDS) for ids in blocks.values())
    assert frame.columns[:3].tolist() == ["participant_id", "fold", "f0"]
    assert frame["f0"].dtype == np.float32


def test_embed_cohort_fits_each_block_without_its_fold():
    frame = embed_cohort("kmeans", PARAMS["kmeans"], cohort(), FOLDS, seed=3)
    alone = HistogramWords(**PARAMS["kmeans"])
    alone.fit([subject for subject in cohort() if FOLDS[subject.participant_id] != 2], seed=3)
    expected = np.stack([alone.embed(subject) for subject in cohort()])
    np.testing.assert_array_equal(frame[frame["fold"] == 2].filter(regex="^f[0-9]").to_numpy(), expected)


def test_five_folds_read_the_patches_once_and_do_not_keep_them():
    subjects = cohort()
    embed_cohort("kmeans", PARAMS["kmeans"], subjects, FOLDS, seed=0)
    assert [len(subject.reads) for subject in subjects] == [1] * 10
    assert not any("patches" in vars(subject) for subject in subjects)


def test_laa950_is_the_records_percentage():
    assert load_method("laa950", {}).embed(ToySubject("s1", 0, diseased=0.25)).tolist() == [25]


def test_laa950_names_the_subject_without_it():
    class Bare(ToySubject):
        def record(self, stage):
            return Record(self.participant_id, stage, "ok")

    with pytest.raises(InputError, match="s1: the segment record has no laa950_pct"):
        load_method("laa950", {}).embed(Bare("s1", 0))


def test_no_image_has_subjects_and_no_feature():
    frame = embed_cohort("no_image", {}, cohort()[::-1], FOLDS, seed=0)
    assert list(frame.columns) == ["participant_id", "fold"]
    assert frame["participant_id"].tolist() == sorted(FOLDS)
    assert set(frame["fold"]) == {-1}
    assert load_method("no_image", {}).embed(cohort()[0]).dtype == np.float32


def test_words_tell_healthy_from_diseased_patches():
    method = HistogramWords(words=2, bins=32)
    method.fit(cohort(), seed=0)
    shares = np.array([method.embed(subject) for subject in cohort()])
    diseased_word = shares[9].argmax()
    # 20 patches of which the last, a healthy one, is invalid
    np.testing.assert_allclose(shares[:, diseased_word], [min(2 * i, 19) / 19 for i in range(10)], rtol=1e-6)


def test_invalid_patches_change_nothing():
    class Spoiled(ToySubject):
        @property
        def patches(self):
            patches = ToySubject(self.participant_id, self.seed, self.diseased).patches
            patches[~self.valid] = 3000
            return patches

    def features(kind):
        subjects = [kind(f"s{i}", seed=i, diseased=i / 10) for i in range(10)]
        method = HistogramWords(words=3, bins=16)
        method.fit(subjects, seed=0)
        return np.stack([method.embed(subject) for subject in subjects])

    np.testing.assert_array_equal(features(ToySubject), features(Spoiled))


def test_codebook_is_fitted_on_no_more_patches_than_allowed(monkeypatch):
    sizes = []
    original = HistogramWords._sample
    monkeypatch.setattr(HistogramWords, "_sample", lambda *args: sizes.append(original(*args)) or sizes[-1])
    HistogramWords(words=2, max_patches=37).fit(cohort(), seed=0)
    HistogramWords(words=2, max_patches=4).fit(cohort(), seed=0)
    assert [len(size) for size in sizes] == [30, 4]


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("kmens", {}, "'kmens' is unknown; the methods are laa950, histogram, kmeans"),
        ("no_image", {"words": 3}, "no_image takes no parameters"),
        ("laa950", {"words": 3}, "takes no parameters, but was given words"),
        ("histogram", {"bins": 3}, "histogram has no parameter bins; it has scales"),
        ("histogram", {"scales": 4}, "histogram.scales is 4: choose a value from 1 to 3"),
        ("kmeans", {"wrods": 3}, "no parameter wrods; it has words, bins, max_patches"),
        ("kmeans", {"words": 1, "bins": 0}, "words is 1, at least 2; bins is 0, at least 2"),
        ("kmeans", {"words": 9, "max_patches": 8}, "max_patches is 8, at least 9"),
    ],
)
def test_bad_methods_and_params_are_refused(name, params, message):
    with pytest.raises(InputError, match=message):
        load_method(name, params)


def test_more_words_than_patches_are_refused():
    with pytest.raises(InputError, match="words is 40, but the training subjects have 19 distinct patches"):
        load_method("kmeans", {"words": 40}).fit(cohort(1), seed=0)


def test_a_subject_without_valid_patch_is_named():
    class Outside(ToySubject):
        valid = np.zeros(20, dtype=bool)

    words = HistogramWords(words=2)
    words.fit(cohort(), seed=0)
    for method in (words, load_method("histogram", {})):
        with pytest.raises(InputError, match="s77 has no valid patch"):
            method.embed(Outside("s77", 0))


def test_the_mean_histogram_is_of_the_valid_patches_alone():
    subject = ToySubject("s1", 0)
    counts = [np.histogram(np.clip(p, -1024, 240), bins=30, range=(-1024, 240))[0] for p in subject.patches[:19]]
    expected = np.sqrt(np.array(counts) / subject.patches[0].size).mean(axis=0)
    np.testing.assert_allclose(load_method("histogram", {}).embed(subject), expected, rtol=1e-5)
