"""What the first command prints, and that it prints it again without computing anything."""

import csv
import io

import pytest
from workflow_run import planned_jobs, pretend, snakemake, succeeded, tiny_config

from drasclr_core.report.demonstration import WIDTH, demonstration_text

TRUTH = """run,disease,seed,features,r2,low,high,subjects,unseen_r2,unseen_low,unseen_high,unseen_subjects,warning
location,emphysema,0,,0.04,-0.07,0.08,40,-0.001,-0.29,0.07,20,
histogram,emphysema,0,,0.66,0.55,0.73,40,0.62,0.4,0.7,20,
patch-moco,emphysema,0,pooled,0.3,0.2,0.4,40,0.1,0.0,0.2,20,
untrained,emphysema,0,pooled,0.4,0.3,0.5,40,,,,20,
untrained,emphysema,0,last,0.11,0.3,0.5,40,,,,20,
drasclr,emphysema,0,pooled,0.51,0.4,0.6,40,0.31,0.1,0.4,20,it collapsed
drasclr,emphysema,0,last,0.11,0.4,0.6,40,0.31,0.1,0.4,20,it collapsed
drasclr,ground_glass,0,pooled,0.9,0.8,1.0,40,0.9,0.8,1.0,20,it collapsed
"""
POOLED = """method,run,log_fev1pp_r2_pooled,log_fev1pp_r2_low,log_fev1pp_r2_high,\
gold_accuracy_pct_pooled,gold_accuracy_pct_low,gold_accuracy_pct_high,\
cle_accuracy_pct_pooled,cle_accuracy_pct_low,cle_accuracy_pct_high,ae_history_accuracy_pct_n,\
log_fev1pp_r2_people,gold_accuracy_pct_people,cle_accuracy_pct_people
LAA-950,laa950,0.14,-2.41,0.51,35.714286,14.3,57.1,25,6.2,43.8,34,34,29,30
DrasCLR,drasclr,0.39,-1.78,0.64,28.6,7.1,50,,,,34,34,29,30
"""
FOLDS = """method,log_fev1pp_r2_mean,log_fev1pp_r2_sd,gold_accuracy_pct_mean,gold_accuracy_pct_sd,\
cle_accuracy_pct_mean,cle_accuracy_pct_sd,log_fev1pp_r2_people,gold_accuracy_pct_people,cle_accuracy_pct_people
DrasCLR,0.63,0.01,65,0.6,53.9,,9000,9000,9000
"""
PRINTED = """\
How much of a patch's true emphysema a linear probe reads: R²

                                 40 phantoms            20 phantoms
 read from           whose patches were seen   that no training saw
 ──────────────────────────────────────────────────────────────────
 location alone           0.04 [-0.07, 0.08]     0.00 [-0.29, 0.07]
 histogram of HU           0.66 [0.55, 0.73]      0.62 [0.40, 0.70]
 untrained encoder         0.40 [0.30, 0.50]                      –
 DrasCLR                   0.51 [0.40, 0.60]      0.31 [0.10, 0.40]

1 is perfect, 0 no better than the mean. In brackets 95 % intervals over people.
Warning, drasclr: it collapsed.

What a person's features tell of their labels (from Table 2)

                  log FEV1pp,           GOLD stage,   emphysema grade,
 method                    R²           accuracy, %        accuracy, %
 ─────────────────────────────────────────────────────────────────────
 LAA-950   0.14 [-2.41, 0.51]   35.7 [14.3, 57.1] †   25.0 [6.2, 43.8]
 DrasCLR   0.39 [-1.78, 0.64]    28.6 [7.1, 50.0] †                  –

† of fewer than 30 people: an example rather than a result.

The picture: a.png
"""


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_text_by_hand():
    found = demonstration_text(rows(TRUTH), rows(POOLED), {"The picture": "a.png"})
    assert found == PRINTED
    assert max(map(len, found.splitlines())) <= WIDTH


def test_where_the_last_layer_is_configured_it_is_shown():
    last = [row for row in rows(TRUTH) if row["features"] != "pooled"]
    found = demonstration_text(last, rows(POOLED), {})
    assert "DrasCLR                   0.11 [0.40, 0.60]" in found


def test_larger_cohorts_have_mean_and_deviation_and_none_need_have_unseen_phantoms():
    truth = [{**row, "unseen_subjects": ""} for row in rows(TRUTH)]
    lines = demonstration_text(truth, rows(FOLDS), {}).splitlines()
    assert any(line.split() == ["DrasCLR", "0.63", "±", "0.01", "65.0", "±", "0.6", "53.9"] for line in lines)
    assert not any("no training saw" in line or "†" in line for line in lines)


def test_trainings_of_a_run_are_told_apart_by_their_seeds():
    again = [{**row, "seed": "4"} for row in rows(TRUTH) if row["run"] == "drasclr"]
    text = demonstration_text([*rows(TRUTH), *again], rows(POOLED), {})
    assert " DrasCLR, seed 0 " in text
    assert " DrasCLR, seed 4 " in text
    assert " untrained encoder " in text


@pytest.mark.parametrize("quiet", ["rules", "all"])
def test_when_all_is_there_it_is_printed_again_and_nothing_else_runs(tmp_path, quiet):
    config = tiny_config()
    first = planned_jobs(tmp_path, config, "demonstration")
    assert {"demonstration", "make_table", "make_known_truth", "make_figure", "pretrain_encoder drasclr"} <= first
    pretend(tmp_path, config, "demonstration")
    for name, text in (("known_truth", TRUTH), ("table2", POOLED)):
        (tmp_path / f"results/{name}.csv").write_text(text, encoding="utf-8")
    for _ in range(2):
        assert planned_jobs(tmp_path, config, "demonstration") == {"demonstration"}
        process = snakemake(tmp_path, config, "--quiet", quiet, "--", "demonstration")
        succeeded(process)
        assert PRINTED.splitlines()[8] in process.stdout.splitlines()
        assert "The picture: results/figure_neighbours.png" in process.stdout
