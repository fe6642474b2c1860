"""YAML documents checked against the JSON schemas of ``schemas/``."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from drasclr_core.base.errors import InputError

try:
    from yaml import CSafeLoader as _SafeLoader  # ten times as fast
except ImportError:
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

_PACKAGE = Path(__file__).resolve().parents[1]
# An installed package holds them; a checkout shows them to its users beside it.
SCHEMAS = next(path for path in (_PACKAGE / "schemas", _PACKAGE.parent / "schemas") if path.is_dir())


# JSON takes 32.0 for an integer; a document's sizes and counts become those of arrays and loops.
_Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


_MOST_LEVELS = 100
_MOST_VALUES = 100_000  # of a document, its aliases unfolded


class _Loader(_SafeLoader):
    """Reads scalars as YAML 1.2 does: 4:00:00 is no number to the base of 60, 040 is 40, no and 12_34 are text.

    Of two equal keys YAML lets the last win in silence: a value could vanish, so they are refused.
    """

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - PyYAML asks for it here

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = node.value.lower()
        return int(value, {"0o": 8, "0x": 16}.get(value[:2], 10))

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    problem="a name cannot be a mapping or a list; is this a template that was not filled in?",
                    problem_mark=key.start_mark,
                )
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    problem=f"'{key.value}' stands twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
    ("merge", "<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def read_yaml(path: str | Path) -> Any:
    """Return the content of a YAML file: plain data only.

    Raises
    ------
    InputError
        If the file cannot be read or is no YAML, a key stands twice, or aliases make it endless or far too long.
    """
    try:
        content = parse_yaml(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give the path of a YAML file.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}): save it with that encoding.") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {error}") from None
    if fault := _unfolded(content):
        raise InputError(f"{path}: {fault}: write out what its aliases (*name) stand for.")
    return content


def parse_yaml(text: str) -> Any:
    """Return the content of a YAML text: plain data, for the loader is a SafeLoader."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):  # level upon level, the loader would end the process
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_LEVELS:
            raise yaml.YAMLError(f"it is nested more than {_MOST_LEVELS} levels deep")
    return yaml.load(text, Loader=_Loader)


def plain_values(content: Any) -> Any:
    """Return content in which every text is read as a YAML value: 2 is a number, true is none."""
    if isinstance(content, dict):
        return {name: plain_values(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain_values(value) for value in content]
    return parse_yaml(content) if isinstance(content, str) else content


def _unfolded(content: Any) -> str:
    """Say whether aliases make a document endless, or longer than any is; empty if not."""
    values, path = 0, [iter([content])]
    within: list[int] = []
    while path:
        try:
            value = next(path[-1])
        except StopIteration:
            path.pop()
            if within:
                within.pop()
            continue
        values += 1
        if values > _MOST_VALUES:
            return f"it unfolds to more than {_MOST_VALUES:,} values"
        if isinstance(value, dict | list):
            if id(value) in within:
                return "it contains itself"
            within.append(id(value))
            path.append(iter(value.values() if isinstance(value, dict) else value))
    return ""


@cache
def schema(name: str) -> dict[str, Any]:
    """Return the schema ``schemas/<name>.schema.yaml``."""
    content: dict[str, Any] = yaml.load(
        (SCHEMAS / f"{name}.schema.yaml").read_text(encoding="utf-8"), Loader=_SafeLoader
    )
    return content


def schema_faults(content: Any, name: str) -> list[str]:
    """Return every fault of `content` against a schema, each with its dotted key, in the order of the keys."""
    errors = _Validator(schema(name)).iter_errors(content)
    return [_fault(error) for error in sorted(errors, key=lambda error: error.json_path)]


def raise_faults(title: str, faults: list[str]) -> None:
    """Raise one InputError that names all faults, if there are any."""
    if faults:
        raise InputError("\n  ".join([f"{title} has faults:", *faults]))


def _fault(error: ValidationError) -> str:
    return f"{'.'.join(map(str, error.absolute_path)) or 'top level'}: {error.message}{_advice(error)}"


def _advice(error: ValidationError) -> str:
    """Return what to do about a value that YAML reads in another way than was meant."""
    if error.validator != "type":
        return ""
    wanted = str(error.validator_value)  # one name, or a list of them
    if "string" in wanted and isinstance(error.instance, bool | int | float):
        return ": put it in quotes if it is a name"
    if "boolean" in wanted and str(error.instance).lower() in ("yes", "no", "on", "off"):
        return ": give true or false"
    return ""
