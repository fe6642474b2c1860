"""Write docs/configuration.md and docs/command_line.md from the schemas and the command: `make reference`."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from drasclr_core.config.checks import pretrain_settings
from drasclr_core.config.recipes import with_recipe

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "<!-- Written by `make reference`; edit {} instead. -->"
LIMITS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}
TYPES = {"array": "list", "string": "text", "boolean": "true or false", "null": "null", "integer": "integer"}

CONFIGURATION = """# Configuration and tables

The settings of the workflow and the columns of the tables that it reads. They are checked against
[schemas/config.schema.yaml](../schemas/config.schema.yaml) and
[schemas/participants.schema.yaml](../schemas/participants.schema.yaml) before any job, all faults told at once.

A configuration file is complete: nothing is inherited from another, and from `preprocess` on every key is required,
but for those of `pretrain` that its `recipe` gives: what a training learns with is chosen there by the size of the
cohort ([recipes.py](../drasclr_core/config/recipes.py)), and any of it can be given in the section or by a run.
NAME is a name of your own: letters, digits, `_` and `-`. Beside the keys stand the values of the default,
[config.yaml](../config.yaml) (phantoms), and of [config/copdgene.yaml](../config/copdgene.yaml), which are the paper's
where the paper gives them.
"""
BOXES = """## Table of boxes

Named by `cohorts.NAME.boxes`, `.tsv` or `.csv`: a row for each annotated box of emphysema, whose edge is 32 mm (paper
section 4.3).

| column | |
|---|---|
| `participant_id` | of the participants table |
| `subtype` | `centrilobular` or `paraseptal` |
| `x_mm`, `y_mm`, `z_mm` | centre, in the scan's physical space: mm, LPS |
"""


def command_line_page() -> str:
    """Return the page of the command `drasclr` as Typer writes it, its lists of commands as links."""
    command = [sys.executable, "-m", "typer", "drasclr_core.cli.main", "utils", "docs", "--name", "drasclr"]
    text = subprocess.run(
        [*command, "--title", "The command drasclr"], cwd=ROOT, check=True, capture_output=True, encoding="utf-8"
    ).stdout
    lines, above = [SOURCE.format("the functions in drasclr_core/cli/"), ""], "drasclr"
    for line in text.strip().splitlines():
        if heading := re.match(r"#+ `([\w -]+)`", line):
            above = heading[1]
        entry = re.match(r"\* `(\w[\w-]*)`: ", line)
        name = entry and f"{above} {entry[1]}"
        lines.append(f"* [`{name}`](#{name.replace(' ', '-')})" if name else line)
    return "\n".join([*lines, ""])


def configuration_page() -> str:
    """Return the page of all settings, section by section, and of the participants table."""
    schema, participants = _read("schemas/config.schema.yaml"), _read("schemas/participants.schema.yaml")
    examples = [_with_recipe(_read(name)) for name in ("config.yaml", "config/copdgene.yaml")]
    parts = [SOURCE.format("the schemas, or docs/scripts/write_reference.py"), "", CONFIGURATION]
    for section, content in schema["properties"].items():
        parts += [f"## {section}", "", content["description"], ""]
        complete = (set(content.get("properties", [])) <= set(each[section]) for each in examples)
        if "properties" not in content or all(complete):
            parts += _section(section, content, schema, examples)
        else:
            parts += _table(["key", "values", ""], _named(content))
    parts += ["## Participants table", "", _sentence(participants["description"]), ""]
    parts += _table(["column", "values", ""], _named(participants))
    return "\n".join([*parts, BOXES])


def _with_recipe(example: dict) -> dict:
    """Return a configuration with what its recipe gives, but the name of the recipe as it stands there."""
    named = example["pretrain"]["recipe"]
    chosen = with_recipe(example, {"phantoms": 40})
    return {**example, "pretrain": {**pretrain_settings(chosen, "drasclr"), "recipe": named}}


def _section(section: str, content: dict, schema: dict, examples: list[dict]) -> Iterator[str]:
    """Yield the table of one section: with values of the examples, or, where names are free, without."""
    if "additionalProperties" in content and isinstance(content["additionalProperties"], dict):
        rows = [(key, _values(node), node["description"]) for key, node in _leaves(content["additionalProperties"])]
        yield from _table(["key", "values", ""], [(f"`{section}.NAME.{key}`", *rest) for key, *rest in rows])
        if section == "runs":
            yield from _method_params(schema["$defs"])
    elif "properties" in content:
        rows = []
        for key, node in _leaves(content):
            shown = [f"`{_shown(example[section][key])}`" for example in examples]
            rows.append((f"`{key}`", _values(node), *shown, node["description"]))
        yield from _table(["key", "values", "phantoms", "COPDGene", ""], rows)
    else:
        shown = [f"`{example[section]}`" for example in examples]
        yield from _table(["values", "phantoms", "COPDGene"], [(_values(content), *shown)])


def _method_params(definitions: dict) -> Iterator[str]:
    yield "`params` of the method `drasclr` are overrides of [pretrain](#pretrain); `laa950` and `no_image` have none."
    for method in ("histogram", "kmeans"):
        yield f"Those of `{method}`, each optional:"
        yield ""
        yield from _table(["key", "values", ""], _named(definitions[method]))


def _named(content: dict) -> list[tuple[str, str, str]]:
    return [(f"`{key}`", _values(node), _sentence(node["description"])) for key, node in _leaves(content)]


def _leaves(content: dict, above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (dotted key, schema) of all that has a value of its own."""
    for key, node in content["properties"].items():
        if "properties" in node:
            yield from _leaves(node, f"{above}{key}.")
        else:
            yield f"{above}{key}", node


def _values(node: dict) -> str:
    """Return what a schema allows, in words."""
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    if "type" not in node:
        return "mapping"
    kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
    limits = [text.format(node[key]) for key, text in LIMITS.items() if key in node]
    if node["type"] == "array":
        return f"list, each {_values(node['items'])}"
    return ", ".join([" or ".join(TYPES.get(kind, kind) for kind in kinds), *limits])


def _shown(value: Any) -> str:
    """Return a value as it stands in YAML."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def _sentence(text: str) -> str:
    return " ".join(text.split())


def _table(header: list[str], rows: list[tuple[str, ...]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def _read(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


PAGES = {"command_line.md": command_line_page, "configuration.md": configuration_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (ROOT / "docs" / name).write_text(page(), encoding="utf-8")
