"""What the project promises about itself: strict schemas, one set of versions, and a README that is true."""

import ast
import importlib
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from importing import imports
from typer.main import get_command

from drasclr_core import __version__
from drasclr_core.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# The participants table keeps columns that it does not know; settings of which we know nothing are mistakes.
OPEN_SCHEMAS = {"model.schema.yaml", "participants.schema.yaml"}
SCHEMAS = sorted(ROOT.glob("schemas/*.yaml"))


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_schemas_are_strict_and_described(path):
    schema = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert list(_schema_faults(schema, "", path.name in OPEN_SCHEMAS)) == []


def _schema_faults(node, key, is_open):
    """Yield the dotted keys of objects that take unknown properties and of properties without description."""
    if isinstance(node, list):
        for index, child in enumerate(node):
            yield from _schema_faults(child, f"{key}[{index}]", is_open)
    if not isinstance(node, dict):
        return
    if node.get("type") == "object" and not is_open and node.get("additionalProperties", True) is True:
        yield f"{key}: additionalProperties"
    properties = node["properties"] if isinstance(node.get("properties"), dict) else {}
    yield from (f"{key}.{name}: description" for name, value in properties.items() if not _described(value))
    for name, child in properties.items():
        yield from _schema_faults(child, f"{key}.{name}", is_open)
    for name, child in node.items():
        if name not in {"properties", "default", "enum", "examples", "required"}:
            yield from _schema_faults(child, f"{key}/{name}", is_open)


def _described(schema):
    return "description" in schema or "$ref" in schema


def pins(lines):
    """Return normalised name -> version of lines such as `numpy==2.3.5`."""
    found = (re.match(r"([\w.-]+)==?([\w.]+)$", line.strip()) for line in lines)
    return {_normalise(match[1]): match[2] for match in found if match}


def _normalise(name):
    return re.sub(r"[-_.]+", "-", name).lower()


CONSTRAINTS = pins((ROOT / "envs" / "constraints.txt").read_text(encoding="utf-8").splitlines())
CONDA_NAMES = {"matplotlib-base": "matplotlib", "pytorch": "torch"}
CONDA_ONLY = {"python", "pip"}


def required(requirements):
    names = {_normalise(re.match(r"[\w.-]+", requirement)[0]) for requirement in requirements}
    return names - {PYPROJECT["project"]["name"]}


def test_each_line_of_the_constraints_is_an_exact_pin():
    lines = (ROOT / "envs" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert len(pins(lines)) == sum(not line.startswith("#") for line in lines)


def test_constraints_pin_every_requirement():
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    requirements = [*PYPROJECT["project"]["dependencies"], *(name for extra in extras for name in extra)]
    assert required(requirements) - CONSTRAINTS.keys() == set()


@pytest.mark.parametrize("path", sorted(ROOT.glob("envs/*.yaml")), ids=lambda path: path.name)
def test_conda_files_have_the_versions_of_the_constraints(path):
    *conda, pip = yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]
    versions = {CONDA_NAMES.get(name, name): version for name, version in pins([*conda, *pip["pip"]]).items()}
    versions = {name: version for name, version in versions.items() if name not in CONDA_ONLY}
    assert versions.items() <= CONSTRAINTS.items()


def test_the_rules_environment_has_every_dependency_but_snakemake():
    text = (ROOT / "envs" / "core.yaml").read_text(encoding="utf-8")
    *conda, pip = yaml.safe_load(text)["dependencies"]
    named = {CONDA_NAMES.get(name, name) for name in pins([*conda, *pip["pip"]])}
    assert required(PYPROJECT["project"]["dependencies"]) - named == {"snakemake"}


def test_the_package_holds_every_module_schema_and_data_file():
    setuptools = PYPROJECT["tool"]["setuptools"]
    folders = {
        name: ROOT / setuptools["package-dir"].get(name, name.replace(".", "/")) for name in setuptools["packages"]
    }
    held = {path for folder in folders.values() for path in folder.glob("*.py")}
    held |= {
        path for name, globs in setuptools["package-data"].items() for g in globs for path in folders[name].glob(g)
    }
    there = {path for folder in ("drasclr_core", "schemas") for path in (ROOT / folder).rglob("*") if path.is_file()}
    assert {path for path in there if "__pycache__" not in path.parts} - held == set()


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PYPROJECT["project"]["version"] == __version__


def test_no_path_of_a_developers_machine_is_tracked():
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git checkout")
    private = re.compile(rb"(?<![\w.}/~-])/(?:work|root|home|Users)/\w")
    files = [ROOT / name for name in listing.stdout.split("\0") if name]
    assert [str(path) for path in files if path.is_file() and private.search(path.read_bytes())] == []


def code_blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


SHELL = "\n".join(code_blocks("bash"))


def test_readme_has_the_lines_that_users_and_ci_run():
    assert SHELL.count("python3 -m venv .venv && . .venv/bin/activate && pip install -c envs/constraints.txt -e") == 2
    assert "&& snakemake --cores 2 demonstration\n" in SHELL
    assert re.search(r"<!-- ci:test -->\n+```bash\n.*&& pytest -n 2\n```", README)


def test_readme_names_extras_commands_and_make_targets_that_exist():
    extras = PYPROJECT["project"]["optional-dependencies"]
    assert set(re.findall(r"\.\[(\w+)\]", README)) - extras.keys() == set()
    assert set(re.findall(r"\bdrasclr ([a-z][\w-]+)", SHELL)) - get_command(app).commands.keys() == set()
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(re.findall(r"\bmake (\w+)", SHELL)) - set(targets) == set()


def test_readme_links_and_files_exist():
    visible = re.sub(r"<!--.*?-->", "", README, flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)#]+)", visible) if "://" not in link]
    files = re.findall(r"(?:-c|--configfile) (\S+)", SHELL)
    assert [name for name in links + files if not (ROOT / name).exists()] == []


def test_readme_imports_names_that_exist():
    found = [name for block in code_blocks("python") for name, _ in imports(ast.parse(block))]
    assert found
    for name in found:
        module, attribute = name.rsplit(".", 1)
        assert hasattr(importlib.import_module(module), attribute), name
