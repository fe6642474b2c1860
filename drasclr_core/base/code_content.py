"""What the code of a result says, whatever its comments, its place and its dates."""

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from drasclr_core.base.documents import read_yaml

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def content_sha256(paths: Iterable[str | Path]) -> str:
    """Return the sha256 of what files say, 64 hexadecimal digits: another path, date, comment or layout is the same.

    Parameters
    ----------
    paths : iterable of paths
        Of Python code comments and docstrings do not count, of YAML comments; other files count byte by byte.

    Raises
    ------
    SyntaxError, InputError
        If a file is not the Python or YAML that its name promises.
    """
    return hashlib.sha256("".join(map(_sha256, map(Path, paths))).encode()).hexdigest()


@cache
def _sha256(path: Path) -> str:
    if path.suffix == ".py":
        content = _plain(ast.parse(path.read_bytes())).encode()
    elif path.suffix == ".yaml":
        content = json.dumps(read_yaml(path), default=str).encode()
    else:
        content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()


def _plain(node: Any) -> str:
    """Return a syntax tree as text, without docstrings, and without what is empty: versions of Python differ in it."""
    if isinstance(node, list):
        return f"[{','.join(map(_plain, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = node.body[1:]
    told = [f"{name}={_plain(value)}" for name, value in fields.items() if value not in (None, [])]
    return f"{type(node).__name__}({','.join(told)})"
