import subprocess
import sys
from pathlib import Path

import pytest

from drasclr_core.base.errors import InputError
from drasclr_core.config.figure_specs import KINDS, load_figure

ROOT = Path(__file__).resolve().parents[2]
FIGURES = sorted(ROOT.glob("experiments/figure*.yaml"))

TOY = "{title: Toy, cohort: copd, figure: embedding_map, run: drasclr, labels: [gold]}"


def toy_file(folder, text=TOY):
    path = folder / "figure.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_each_figure_is_of_a_kind_that_can_be_drawn(path):
    spec = load_figure(path)
    assert (ROOT / "drasclr_core/figures" / f"{KINDS[spec.figure].module}.py").exists()
    assert spec.runs


def test_each_kind_has_a_figure():
    assert {load_figure(path).figure for path in FIGURES} == set(KINDS)


def test_lists_are_read_as_tuples(tmp_path):
    assert load_figure(toy_file(tmp_path)).labels == ("gold",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TOY.replace("embedding_map", "pie"), "figure: 'pie' is not one of"),
        (TOY.replace("labels: [gold]", "notes: []"), "labels: required by figure: embedding_map"),
        (TOY.replace("labels", "tasks: [gold], labels"), "tasks: of no use to figure: embedding_map"),
        (TOY.replace("labels", "label"), "'label' was unexpected"),
        (
            TOY.replace("embedding_map", "landmark_importance").replace("labels", "tasks").replace("gold", "golf"),
            "tasks.0: 'golf' is not one of log_fev1pp",
        ),
    ],
)
def test_faults_are_named(tmp_path, text, message):
    with pytest.raises(InputError, match="figure.yaml has faults") as error:
        load_figure(toy_file(tmp_path, text))
    assert message in str(error.value)


def test_figures_load_without_heavy_imports():
    code = "import sys, drasclr_core.config.figure_specs; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not {"numpy", "pandas", "sklearn", "scipy", "torch", "matplotlib"} & set(loaded.split())
