"""The page: one file that needs no other, no network and no script, in which all text is text."""

import base64
import json

import pandas as pd
import pytest
from html_page import Page

from drasclr_core import __version__
from drasclr_core.base.errors import InputError
from drasclr_core.config.checks import digest
from drasclr_core.figures.drawing import new_figure, write_figure
from drasclr_core.figures.training import describe_training, draw_training, training_curves
from drasclr_core.report.content import Report, read_figure, read_table, read_training, render_report
from drasclr_core.report.flow import LISTED, read_flow
from drasclr_core.report.markdown import render_markdown
from drasclr_core.report.versions import git_commit, package_versions, page_date

TABLE = """# Table 9: <i>toy</i>

## Lung function

| Method | Run | R² | *paper* |
| --- | --- | --: | --: |
| <script>alert(1)</script> | `own` | 0.25 ± 0.10 | 0.44 |
| ![x](https://example.org/x.png) | `b` | – | – |

- Seen, [here](https://example.org).
"""
EXCLUSIONS = "participant_id\tstage\treason\n<b>\tregister\tDice 0.7 & less\np2\tingest\tcut short\n"


def metrics(steps=40, neighbours=2, uniformity=-1.5):
    step = [10 * (i + 1) for i in range(steps)]
    return pd.DataFrame(
        {
            "step": step,
            "loss_local": [5 - s / 200 for s in step],
            "loss_neighbour": [(4.5 - s / 200) * bool(neighbours) for s in step],
            "loss_local_relative": [(5 - s / 200) / 5 for s in step],
            "loss_neighbour_relative": [(4.5 - s / 200) / 5 * bool(neighbours) for s in step],
            "top1_accuracy": [s / 1000 for s in step],
            "top1_fresh": [s / 2000 for s in step],
            "win_rate": [0.6] * steps,
            "win_rate_fresh": [0.55] * steps,
            "negatives_age": [22.0] * steps,
            "uniformity": [uniformity] * steps,
            "effective_rank": [6.0] * steps,
            "learning_rate": [0.03 - s / 20000 for s in step],
        }
    )


def write_training(folder, frame, training="drasclr"):
    curves = training_curves(frame)
    png = folder / f"results/clinic/sick/runs/{training}/training.png"
    write_figure(draw_training(curves), curves, png, png.with_suffix(".csv"))
    return png


def write_flow(folder, entered=10, exclusions=EXCLUSIONS):
    (folder / "clinic/sick").mkdir(parents=True)
    paths = [folder / "clinic/sick" / name for name in ("cohort_flow.json", "exclusions.tsv", "landmarks.json")]
    texts = (json.dumps({"entered": entered}), f"{exclusions}\n", json.dumps({"points_mm": [[0, 0, 0]] * 7}))
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def write_figure_with_words(folder, drawn=True):
    png = folder / "figure9.png"
    write_figure(new_figure(2, 1), pd.DataFrame({"x": [1]}), png, png.with_suffix(".csv"))
    png.with_suffix(".json").write_text(
        json.dumps({"title": "Figure 9: toy", "notes": ["n = 3 <b>subjects</b>"], "drawn": drawn})
    )
    return png


@pytest.fixture
def page(tmp_path):
    table = tmp_path / "table9.md"
    table.write_text(TABLE, encoding="utf-8")
    report = Report(
        title="Toy <u>",
        flows=[read_flow(*write_flow(tmp_path))],
        tables=[read_table(table)],
        figures=[read_figure(write_figure_with_words(tmp_path))],
        trainings=[read_training(write_training(tmp_path, metrics(), name)) for name in ("drasclr", "drasclr/seed-1")],
        config={"seed": 0, "cohorts": {"clinic": {"participants": "<script>"}}},
        versions=package_versions(),
        date="2026-02-03",
        commit="0123456789ab",
    )
    text = render_report(report)
    assert render_report(report) == text
    return Page(text)


def test_the_page_needs_no_script_and_no_network(page):
    assert {"script", "link", "iframe", "object", "embed"}.isdisjoint(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert page.values("src") == [value for value in page.values("src") if value.startswith("data:image/png;base64,")]
    assert all(value.startswith("#") for value in page.values("href"))


def test_links_lead_to_places_of_the_page_and_no_two_places_share_a_name(page):
    places = page.values("id")
    assert len(places) == len(set(places))
    assert {value[1:] for value in page.values("href")} <= set(places)


def test_what_others_wrote_is_shown_as_text(page):
    assert {"b", "i", "u"}.isdisjoint(page.tags)
    for text in ("<b>", "Dice 0.7 & less", "<i>toy</i>", "<script>alert(1)</script>", "participants: <script>"):
        assert text in page.text
    assert "![x](https://example.org/x.png)" in page.text


def test_the_picture_on_the_page_is_the_file(page, tmp_path):
    picture = (tmp_path / "results/clinic/sick/runs/drasclr/training.png").read_bytes()
    assert base64.b64decode(page.values("src")[1].partition(",")[2]) == picture
    assert picture.startswith(b"\x89PNG")
    assert page.values("width") == ["200", "1100", "1100"]
    trainings = [f"{training} (cohort clinic, atlas sick)" for training in ("drasclr", "drasclr/seed-1")]
    assert page.values("alt") == ["Figure 9: toy", *trainings]


def test_a_figure_has_its_notes_and_no_published_number(page):
    assert "n = 3 <b>subjects</b>" in page.text
    assert page.text.count("Published numbers: not available.") == 1


def test_tables_and_figures_are_all_there_and_named_as_data(page):
    assert {"table9", "figure9", "training-clinic-sick-drasclr"} <= set(page.values("id"))
    assert page.tags.count("table") == 5  # flow, exclusions, Table 9 and the whole of it, versions
    for name in ("table9.csv", "figure9.csv", "training.csv"):
        assert name in page.text


def test_the_page_names_settings_and_versions(page):
    for text in ("0123456789ab", "seed: 0", package_versions()["torch"], "clinic, atlas sick", "7 landmarks"):
        assert text in page.text


def test_our_figures_come_first_and_the_papers_are_folded_away():
    own, folded = render_markdown(TABLE).split("<details>")
    assert '<td class="number">0.25 ± 0.10</td>' in own
    assert "quoted" not in own
    assert "0.44" not in own
    assert '<td class="number quoted">0.44</td>' in folded
    assert folded.count("quoted") == 3
    assert "Table 9" not in own + folded


PEOPLE = """## Emphysema

| Group | Method | Run | F1 | *paper* |
| --- | --- | --- | --: | --: |
| Linear | Own | `own`, linear | 0.50 † | 0.9 |
| – | <b>Alone</b> | `no` | 0.10 | – |
| Linear | Theirs <i> | not run here | – | 0.8 |

## Lungs

| Own against | R²: difference | *paper* |
| --- | --: | --: |
| Theirs <i> | not run here | 0.01 |
| Old | +0.1 | 0.02 |
"""


def test_what_is_not_run_here_is_left_out_and_named_once():
    html = render_markdown(PEOPLE)
    own = [part.partition("</table>")[0] for part in html.split('<div class="wide"><table>')[1::2]]
    assert len(own) == 2
    assert not any("Theirs" in table or "not run here" in table for table in own)
    assert html.count("<details>") == 2
    assert html.count('<p class="notes">Not run here, and folded away: Theirs &lt;i&gt;.</p>') == 1
    assert '<tr>\n<td>Old</td>\n<td class="number">+0.1</td>\n</tr>' in own[1]


def test_the_figure_follows_the_method_whose_group_and_run_stand_below_it():
    own = render_markdown(PEOPLE).partition("<details>")[0]
    assert '<th>Method</th>\n<th class="number">F1</th>\n</tr>' in own
    assert '<td>Own<br><span class="small">Linear, <code>own</code>, linear</span></td>\n<td class="number">0.50' in own
    assert '<td>&lt;b&gt;Alone&lt;/b&gt;<br><span class="small"><code>no</code></span></td>' in own


def test_a_table_of_ours_alone_is_not_folded():
    html = render_markdown("| Method | R² |\n| --- | --: |\n| a | 1 |\n\n- Seen.\n")
    assert html.count("<table>") == 1
    assert "details" not in html
    assert "Not run here" not in html


def test_the_flow_by_hand(tmp_path):
    flow = read_flow(*write_flow(tmp_path))
    assert [(step.stage, step.entered, step.excluded, step.left) for step in flow.steps] == [
        ("table", 10, 0, 10),
        ("ingest", 10, 1, 9),
        ("segment", 9, 0, 9),
        ("register", 9, 1, 8),
        ("patches", 8, 0, 8),
    ]
    assert (flow.cohort, flow.atlas, flow.included, flow.excluded, flow.landmarks) == ("clinic", "sick", 8, 2, 7)
    assert [row["participant_id"] for row in flow.exclusions] == ["p2", "<b>"]


def test_a_long_list_of_exclusions_is_cut_and_counted(tmp_path):
    rows = "".join(f"p{number:03d}\tingest\tcut short\n" for number in range(LISTED + 3))
    flow = read_flow(*write_flow(tmp_path, 100, f"participant_id\tstage\treason\n{rows}"))
    assert (len(flow.exclusions), flow.unlisted, flow.included) == (LISTED, 3, 100 - LISTED - 3)


def test_a_figure_of_which_nothing_could_be_drawn_is_its_reason(tmp_path):
    figure = read_figure(write_figure_with_words(tmp_path, drawn=False))
    assert (figure.image, figure.notes) == ("", ["n = 3 <b>subjects</b>"])
    report = Report("t", [], [], [figure], [], {}, package_versions(), date="2026-02-03")
    page = Page(render_report(report))
    assert page.values("src") == []
    assert "Not drawn: n = 3 <b>subjects</b>" in " ".join(page.text.split())


# Training curves


def test_the_curves_hold_what_was_logged_and_its_median():
    logged = metrics(steps=60)
    logged.loc[30, "loss_local"] = 99.0
    curves = training_curves(logged)
    pd.testing.assert_frame_equal(curves[logged.columns], logged)
    assert curves["loss_local_smooth"].iloc[30] == pytest.approx(sorted(logged["loss_local"].iloc[29:32])[1])


def test_a_run_without_neighbours_shows_and_tells_no_neighbour_loss():
    with_, without = (training_curves(metrics(neighbours=count)) for count in (2, 0))
    assert len(draw_training(with_).axes[0].lines) == 4
    assert len(draw_training(without).axes[0].lines) == 2
    assert "neighbour loss" in describe_training(with_)[0]
    assert "neighbour loss" not in describe_training(without)[0]


def test_a_single_row_is_seen():
    lines = draw_training(training_curves(metrics(steps=1))).axes[0].lines
    assert all(line.get_marker() == "o" for line in lines[1::2])
    many = draw_training(training_curves(metrics(steps=40))).axes[0].lines
    assert not any(line.get_marker() == "o" for line in many)


def test_a_measure_that_is_always_0_says_so():
    logged = metrics()
    logged["negatives_age"] = 0.0
    texts = {
        axes.get_title(): [text.get_text() for text in axes.texts]
        for axes in draw_training(training_curves(logged)).axes
    }
    assert texts.pop("age of the negatives (steps)") == ["always 0"]
    assert not any(texts.values())


def test_a_collapse_is_told_below_the_curves():
    sound, collapsed = (describe_training(training_curves(metrics(uniformity=value))) for value in (-1.5, -0.05))
    assert len(sound) == 1
    assert collapsed[1].startswith("Warning: the training collapsed: in 400 of 400 steps, from 1 to 400,")


def test_an_encoder_that_was_not_trained_has_empty_curves():
    curves = training_curves(metrics(steps=0))
    assert all(line.get_linestyle() == ":" for axes in draw_training(curves).axes for line in axes.lines)
    assert describe_training(curves) == ["Not trained: the encoder is as it was initialised."]


def test_metrics_without_a_column_are_refused():
    with pytest.raises(InputError, match="no column top1_accuracy"):
        training_curves(metrics().drop(columns="top1_accuracy"))


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    first, second = (write_training(tmp_path / name, metrics()) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


# Versions


def test_the_page_says_of_when_and_what_it_is(page):
    words = " ".join(page.text.split())
    assert f"Page made on 2026-02-03 by drasclr {__version__}, commit 0123456789ab; results may be older." in words
    assert f"has the hash {digest({'seed': 0, 'cohorts': {'clinic': {'participants': '<script>'}}})}" in words


def test_the_date_can_be_set_for_pages_of_the_same_bytes(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86399")
    assert page_date() == "1970-01-01"
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert page_date() >= "2026"


def test_no_commit_is_named_outside_of_a_checkout(tmp_path):
    assert git_commit(tmp_path) is None
    assert git_commit(tmp_path / "absent") is None
