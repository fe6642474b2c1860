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
# Packages that cost seconds to import -> the rooms that may do so at module top (elsewhere: inside the function).
LEARNING = {"model", "train", "evaluate", "methods", "detect"}
TOP_ROOMS = {
    "torch": LEARNING,
    "matplotlib": {"figures", "report", "qc"},
    "sklearn": LEARNING - {"model", "train"},
    "lifelines": {"evaluate"},
    "ants": set(),
    "lungmask": set(),
}
# The library knows neither the workflow nor argument parsing; scikit-survival is GPL-3, for tests only.
FORBIDDEN = {"snakemake", "argparse", "sksurv"}
# Imported by every per-subject job or by the Snakefile itself: half a second of pandas is too much.
WITHOUT_PANDAS = {"base", "config", "scan"}
WITHOUT_PANDAS_TOO = {"cohort.table", "atlas.registration", "atlas.landmarks", "atlas.patches"}

MODULES = sorted(path.relative_to(CORE) for path in CORE.glob("*/**/*.py") if path.name != "__init__.py")
RULE_FILES = sorted(ROOT.glob("rules/*.smk"))
SCRIPTS = sorted(ROOT.glob("workflow_scripts/*.py"))


def by_name(path):
    return path.name if path.is_absolute() else path.as_posix()


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
def test_a_module_loads_no_costly_package_at_its_top(path):
    module = path.with_suffix("").as_posix().replace("/", ".")
    found = imports_of(path)
    packages = {name.split(".")[0] for name, _ in found}
    at_top = {name.split(".")[0] for name, top in found if top}
    assert not packages & FORBIDDEN
    room = module.split(".")[0]
    costly = {name for name in at_top if room not in TOP_ROOMS.get(name, {room})}
    assert not costly, f"{path}: import {costly} inside the function that needs it"
    assert not ((room in WITHOUT_PANDAS or module in WITHOUT_PANDAS_TOO) and "pandas" in at_top)


@pytest.mark.parametrize(("folder", "limit"), [("drasclr_core", 400), ("benchmarks", 300), ("tests", 400)])
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
