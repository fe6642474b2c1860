"""YAML documents checked against the JSON schemas of ``schemas/``."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from drasclr_core.errors import InputError

try:
    from yaml import CSafeLoader as _SafeLoader  # ten times as fast
except ImportError:
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

_PACKAGE = Path(__file__).resolve().parent
# An installed package holds them; a checkout shows them to its users beside it.
SCHEMAS = next(path for path in (_PACKAGE / "schemas", _PACKAGE.parent / "schemas") if path.is_dir())


# JSON takes 32.0 for an integer; a document's sizes and counts become those of arrays and loops.
_Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


class _UniqueKeyLoader(_SafeLoader):
    """YAML lets the last of two equal keys win in silence: a value could vanish."""

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


def read_yaml(path: str | Path) -> Any:
    """Return the content of a YAML file: plain data only.

    Raises
    ------
    InputError
        If the file cannot be read or is no YAML, or a key stands twice.
    """
    try:
        # The loader is a SafeLoader: no object but plain data comes out of it.
        return yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give the path of a YAML file.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}): save it with that encoding.") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {error}") from None


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
    return f"{'.'.join(map(str, error.absolute_path)) or 'top level'}: {error.message}"
