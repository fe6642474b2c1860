"""Who may import what, how long files may grow, and which script belongs to which rule."""

import ast
import re
from pathlib import Path

import pytest
from importing import imports

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "drasclr_core"

# A module imports only its own level or lower; `cli` calls all of them. A module that is not named here takes the
# level of the word before its first underscore (`phantom_labels` that of `phantom`).
LEVELS = {
    0: "errors io paths documents collapse config recipes training_faults experiments figure_specs tasks settings flow "
    "work_folder unfinished insides sizes workflow_folders machine code_content words own_tables stores",
    1: "phantom cohort persons folds subject atlas images scan separable dicom lungs lung airways ct_metrics "
    "registration boxes masks landmarks landmark patches histograms disease",
    2: "layers encoder step_kernels augment moco losses measures parallel",
    3: "bank shards rows batches negatives contrast comparison views training checkpoint telemetry model "
    "embedding dense released box finetune",
    4: "study methods metrics readout probes online_probe pretraining task bootstrap disease_probe disease_rows "
    "survival concordance detection significance embedding_map pooled retrieval",
    5: "tables figures qc report plan demonstration workflow_progress terminal",
    6: "cli",
}
LEVEL_OF = {name: level for level, names in LEVELS.items() for name in names.split()}

# Packages that cost seconds to import -> the levels that may do so at module top (elsewhere: inside the function).
TOP_LEVELS = {"torch": {2, 3, 4}, "matplotlib": {5}, "sklearn": {4}, "lifelines": {4}, "ants": set(), "lungmask": set()}
# The library knows neither the workflow nor argument parsing; scikit-survival is GPL-3, for tests only.
FORBIDDEN = {"snakemake", "argparse", "sksurv"}
# Imported by every per-subject job or by the Snakefile itself: half a second of pandas is too much.
WITHOUT_PANDAS = {"io", "config", "cohort", "images", "lungs", "registration", "landmarks", "patches", "ct_metrics"}

MODULES = sorted(path.relative_to(CORE) for path in CORE.rglob("*.py") if path != CORE / "__init__.py")
RULE_FILES = sorted(ROOT.glob("rules/*.smk"))
SCRIPTS = sorted(ROOT.glob("workflow_scripts/*.py"))


def by_name(path):
    return path.name if path.is_absolute() else path.as_posix()


def level_of(module):
    """Return the level of a dotted name inside drasclr_core; the package itself is below all."""
    top = module.split(".")[0]
    if not top:
        return -1
    for name in (top, top.split("_")[0]):
        if name in LEVEL_OF:
            return LEVEL_OF[name]
    pytest.fail(f"drasclr_core/{top} has no level: add it to LEVELS in {Path(__file__).name}")


def imports_of(path):
    package = ".".join(["drasclr_core", *path.parent.parts])
    return list(imports(ast.parse((CORE / path).read_text(encoding="utf-8")), package))


def test_imports_are_told_apart():
    source = """
import a
from b import c
try:
    import d
except ImportError:
    pass
if TYPE_CHECKING:
    import e
class K:
    import f
    def method(self):
        import g
from . import h
from ..i import j
"""
    found = set(imports(ast.parse(source), "package.inner"))
    top = {("a", True), ("b.c", True), ("d", True), ("f", True), ("package.inner.h", True), ("package.i.j", True)}
    assert found == top | {("e", False), ("g", False)}


@pytest.mark.parametrize("path", MODULES, ids=by_name)
def test_a_module_imports_its_own_level_or_lower(path):
    own = level_of(path.with_suffix("").as_posix().replace("/", "."))
    ours = [name.removeprefix("drasclr_core").lstrip(".") for name, _ in imports_of(path) if _is_core(name)]
    above = [name for name in ours if name not in {"__version__"} and level_of(name) > own]
    assert not above, f"{path} is at level {own} and imports {above}"


def _is_core(name):
    return name.split(".")[0] == "drasclr_core"


@pytest.mark.parametrize("path", MODULES, ids=by_name)
def test_a_module_loads_no_costly_package_at_its_top(path):
    module = path.with_suffix("").as_posix().replace("/", ".")
    found = imports_of(path)
    packages = {name.split(".")[0] for name, _ in found}
    at_top = {name.split(".")[0] for name, top in found if top}
    assert not packages & FORBIDDEN
    costly = {name for name in at_top if level_of(module) not in TOP_LEVELS.get(name, {level_of(module)})}
    assert not costly, f"{path}: import {costly} inside the function that needs it"
    assert not (module in WITHOUT_PANDAS and "pandas" in at_top)


@pytest.mark.parametrize(("folder", "limit"), [("drasclr_core", 300), ("benchmarks", 300), ("tests", 400)])
def test_python_files_stay_short(folder, limit):
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in ROOT.glob(f"{folder}/**/*.py")}
    assert [f"{name}: {length} lines" for name, length in lengths.items() if length >= limit] == []


@pytest.mark.parametrize("path", RULE_FILES, ids=by_name)
def test_rule_files_are_short_and_open_with_their_contract(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    assert text.startswith('"""')
    if not path.name.startswith(("common", "snakemake_internals")):  # functions only
        contract = text.split('"""')[1]
        assert [word for word in ("Reads:", "Writes:", "Config:") if word not in contract] == []


@pytest.mark.parametrize("path", SCRIPTS, ids=by_name)
def test_scripts_are_thin(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert sum(bool(line.strip()) for line in lines) < 40


def rules():
    """Yield (rule file, rule's name, its text) of every rule in rules/."""
    for path in RULE_FILES:
        parts = re.split(r"^rule (\w+):\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        yield from ((path.name, name, body) for name, body in zip(parts[1::2], parts[2::2], strict=True))


def test_each_rule_runs_the_script_of_its_name():
    wrong = [f"{file}: {name}" for file, name, body in rules() if f"workflow_scripts/{name}.py" not in body]
    assert not wrong
    missing = [name for _, name, _ in rules() if not (ROOT / "workflow_scripts" / f"{name}.py").exists()]
    assert not missing


def test_each_script_belongs_to_a_rule():
    names = {name for _, name, _ in rules()}
    assert [path.name for path in SCRIPTS if not path.stem.startswith("_") and path.stem not in names] == []


def test_each_rule_names_a_log_and_an_environment():
    wanted = ("    log:", "    conda:")
    assert [f"{name}:{part}" for _, name, body in rules() for part in wanted if part not in body] == []
