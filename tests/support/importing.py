"""The imports of a piece of Python, read and not run."""

import ast


def imports(tree, package=""):
    """Yield (dotted name, whether it happens when the module is imported) of each import in a module."""
    pending = [(node, True) for node in tree.body]
    while pending:
        node, at_top = pending.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, at_top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield from ((f"{base}.{alias.name}", at_top) for alias in node.names)
        else:
            lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _type_checking(node)
            pending += [(child, at_top and not lazy) for child in ast.iter_child_nodes(node)]


def _type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
