"""The rules by which a cohort's own tables and scans become a participants table: names, codes, names of scans."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from drasclr_core.base.documents import raise_faults, read_yaml, schema, schema_faults

COPDGENE = Path(__file__).with_name("copdgene.yaml")
GROUPS = {"key", "breath", "kernel", "phase"}

Rules = dict[str, Any]


def read_rules(path: str | Path = COPDGENE) -> Rules:
    """Read rules and check them against ``schemas/cohort_rules.schema.yaml`` and the participants' schema.

    Parameters
    ----------
    path : path
        A YAML file; COPDGene's come with the package.

    Raises
    ------
    InputError
        Naming every fault at once, by dotted key.
    """
    rules = _with_text_keys(read_yaml(path))
    raise_faults(str(path), schema_faults(rules, "cohort_rules") or list(_cross_faults(rules)))
    return dict(rules)


def aliases(rules: Rules, names: list[str]) -> list[str]:
    """Return every name that a column can have, in the order of preference: each also with the phase's suffix."""
    suffixes = dict.fromkeys(["", rules["phase_suffix"]])
    return [name + suffix for name in names for suffix in suffixes]


def wanted_names(rules: Rules) -> set[str]:
    """Return every column name, in lower case, that any of the rules speaks of."""
    columns = [name for column in rules["columns"].values() for name in aliases(rules, column["names"])]
    return {name.lower() for name in [*rules["keys"], rules["image_key"], *rules["visit"]["names"], *columns]}


def codes_of(column: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Return the table of codes of a column found under `name` (one of its names, without suffix), or None."""
    codes: dict[str, Any] | None = column.get("codes_by_name", {}).get(name, column.get("codes"))
    return codes


def _with_text_keys(content: Any) -> Any:
    """Turn the keys of all mappings into text: YAML reads the code 1 as a number unless it is quoted."""
    if isinstance(content, dict):
        return {str(key): _with_text_keys(value) for key, value in content.items()}
    return [_with_text_keys(item) for item in content] if isinstance(content, list) else content


def _cross_faults(rules: Rules) -> Iterator[str]:
    properties = schema("participants")["properties"]
    for name, column in rules["columns"].items():
        if name in ("participant_id", "image", "person", "exclude_reason") or name not in properties:
            yield f"columns.{name}: no column of the participants table that a cohort's table can fill"
            continue
        tables = {"codes": column.get("codes", {})}
        tables |= {f"codes_by_name.{key}": codes for key, codes in column.get("codes_by_name", {}).items()}
        check = Draft202012Validator(properties[name])
        for key, codes in tables.items():
            for code, value in codes.items():
                if value is not None and not check.is_valid(value):
                    yield f"columns.{name}.{key}.{code}: {value!r} is no value of {name}"
        for index, by in enumerate(column.get("implied", {}).get("by", [])):
            if by["column"] not in rules["columns"]:
                yield f"columns.{name}.implied.by.{index}.column: '{by['column']}' is not one of columns"
    yield from _pattern_faults(rules["images"]["name"])


def _pattern_faults(pattern: str) -> Iterator[str]:
    try:
        missing = GROUPS - set(re.compile(pattern).groupindex)
    except re.error as error:
        yield f"images.name: no regular expression ({error})"
        return
    if missing:
        yield f"images.name: the groups {', '.join(sorted(missing))} are missing"
