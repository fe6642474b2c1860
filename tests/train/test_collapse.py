import pytest

from drasclr_core.train.collapse import collapse_of, read_collapse


def rows(*cells, every=10):
    return [
        {"step": str(every * (i + 1)), "uniformity": str(uniformity), "effective_rank": str(rank)}
        for i, (uniformity, rank) in enumerate(cells)
    ]


SOUND, POINT, LINE = (-1.0, 9.0), (-0.1, 9.0), (-1.0, 1.5)


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ([SOUND] * 20, None),
        ([POINT] + [SOUND] * 19, None),  # less than a tenth
        ([SOUND, POINT, SOUND, LINE] * 5, "in 100 of 200 steps, from 11 to 200,"),  # also now and then
        ([SOUND] * 4 + [POINT, LINE] + [SOUND] * 14, "in 20 of 200 steps, from 41 to 60,"),
        ([SOUND] * 15 + [LINE] * 5, "in 50 of 200 steps, from 151 to 200,"),
        ([(0.0, 0.0)] * 20, "in 200 of 200 steps, from 1 to 200,"),
    ],
)
def test_a_collapse_lasts_a_tenth_of_the_training(cells, told):
    found = collapse_of(rows(*cells))
    assert (found is None) == (told is None)
    assert told is None or told in found


def test_a_collapse_is_to_a_point_or_to_a_line():
    point, line = (collapse_of(rows(*[cell] * 20)) for cell in (POINT, LINE))
    assert point.endswith("were nearly one point (uniformity up to -0.10; above -0.2 is a collapse)")
    assert line.endswith("were nearly one line (effective rank down to 1.5; below 2 is a collapse)")


def test_what_is_undefined_is_no_collapse():
    assert collapse_of(rows(*[("nan", "")] * 10)) is None
    assert collapse_of([]) is None


def test_the_default_run_of_an_earlier_version_would_have_raised_the_alarm(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(DEFAULT_RUN)
    assert "in 166 of 176 steps, from 11 to 176," in read_collapse(path)


# Of metrics.csv, to four digits: the columns after the losses.
DEFAULT_RUN = """step,top1_accuracy,alignment,uniformity
10,0.9937,0.7981,-0.553
20,1,0.4004,-0.03961
30,0.9281,0.1929,-0.02579
40,0.9906,0.1068,-0.02122
50,0.8094,0.09334,-0.02059
60,0.875,0.08998,-0.02157
70,0.8531,0.1457,-0.02785
80,0.9563,0.2708,-0.04921
90,0.95,0.4739,-0.05822
100,0.9688,0.6726,-0.05736
110,1,0.8238,-0.04652
120,0.9219,0.8695,-0.03663
130,0.9937,0.8273,-0.0365
140,0.9281,0.7514,-0.03308
150,0.9812,0.6576,-0.02953
160,0.9406,0.5422,-0.03001
170,0.9375,0.4296,-0.03269
176,0.9948,0.3446,-0.03009
"""
