import pytest

from drasclr_core.collapse import collapse_of, read_collapse


def rows(*cells, every=10):
    return [
        {"step": str(every * (i + 1)), "uniformity": str(uniformity), "effective_rank": str(rank)}
        for i, (uniformity, rank) in enumerate(cells)
    ]


SOUND, POINT, LINE = (-1.0, 9.0), (-0.1, 9.0), (-1.0, 1.5)


@pytest.mark.parametrize(
    ("cells", "span"),
    [
        ([SOUND] * 20, None),
        ([POINT] + [SOUND] * 19, None),  # less than a tenth
        ([SOUND, POINT, SOUND, LINE] * 5, None),  # never long enough at a time
        ([SOUND] * 4 + [POINT, LINE] + [SOUND] * 14, (41, 60)),
        ([SOUND] * 15 + [LINE] * 5, (151, 200)),
        ([(0.0, 0.0)] * 20, (1, 200)),
    ],
)
def test_a_collapse_lasts_a_tenth_of_the_training(cells, span):
    found = collapse_of(rows(*cells))
    assert (found is None) == (span is None)
    assert span is None or f"from step {span[0]} to {span[1]} of 200" in found


def test_what_is_undefined_is_no_collapse():
    assert collapse_of(rows(*[("nan", "")] * 10)) is None
    assert collapse_of([]) is None


def test_the_default_run_of_an_earlier_version_would_have_raised_the_alarm(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(DEFAULT_RUN)
    assert "from step 11 to 176 of 176" in read_collapse(path)


DEFAULT_RUN = """step,loss_local,loss_neighbour,loss_local_relative,loss_neighbour_relative,top1_accuracy,alignment,uniformity,learning_rate,patches_per_second,waiting_share,probe_score
10,2.098,0.4791,0.4318,0.09859,0.9937,0.7981,-0.553,0.02981,23.47,0.001196,
20,1.277,0.07019,0.2628,0.01444,1,0.4004,-0.03961,0.02915,17.64,0.001246,
30,2.564,1.897,0.5275,0.3904,0.9281,0.1929,-0.02579,0.02803,20.42,0.001569,
40,2.551,1.64,0.5248,0.3374,0.9906,0.1068,-0.02122,0.02651,32.79,0.001015,
50,3.164,2.585,0.6511,0.5319,0.8094,0.09334,-0.02059,0.02462,58.7,0.001243,
60,3.552,3.132,0.7309,0.6444,0.875,0.08998,-0.02157,0.02242,69.32,0.001339,
70,3.694,3.265,0.7601,0.6718,0.8531,0.1457,-0.02785,0.01999,67.06,0.001595,
80,3.796,3.227,0.7812,0.664,0.9563,0.2708,-0.04921,0.0174,59.45,0.001023,
90,3.533,2.663,0.727,0.548,0.95,0.4739,-0.05822,0.01473,52.96,0.001382,
100,3.473,2.506,0.7147,0.5157,0.9688,0.6726,-0.05736,0.01207,45.51,0.001265,
110,2.892,1.422,0.595,0.2926,1,0.8238,-0.04652,0.009508,28.37,0.00109,
120,3.137,2.188,0.6455,0.4503,0.9219,0.8695,-0.03663,0.007117,43.12,0.001483,
130,2.446,1.013,0.5034,0.2085,0.9937,0.8273,-0.0365,0.004976,37.79,0.001502,
140,2.84,1.802,0.5843,0.3708,0.9281,0.7514,-0.03308,0.003154,37.8,0.001078,
150,2.628,1.45,0.5408,0.2983,0.9812,0.6576,-0.02953,0.001709,25.31,0.001022,
160,2.923,2.026,0.6014,0.4169,0.9406,0.5422,-0.03001,0.0006853,25.64,0.001029,
170,2.952,1.99,0.6075,0.4095,0.9375,0.4296,-0.03269,0.0001169,37.5,0.0008683,
176,2.857,1.833,0.588,0.3771,0.9948,0.3446,-0.03009,2.39e-06,30.58,0.0009808,
"""
