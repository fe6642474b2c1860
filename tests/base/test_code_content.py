"""What counts as a change of code, and what does not."""

import pytest

from drasclr_core.base.code_content import content_sha256
from drasclr_core.base.errors import InputError

CODE = '''"""Of the module."""

import math


def area(radius: float, parts=("a", "b")) -> float:
    """Of the function."""
    if radius < 0:
        raise ValueError(f"{radius:.2f}")
    return math.pi * radius**2


class Circle:
    """Of the class."""

    name = "circle"
'''


def of(folder, text, name="code.py"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return content_sha256([folder / name])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import math", "# a comment\nimport math  # and another"),
        ('"""Of the module."""', '"""Said better."""'),
        ('    """Of the function."""\n', ""),
        ('    """Of the class."""', '    """Of the class,\n    at length."""'),
        ("    return math.pi * radius**2", "    return (\n        math.pi *\n        radius ** 2\n    )"),
        ('name = "circle"', "name = 'circle'"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(tmp_path, old, new):
    assert old in CODE
    assert of(tmp_path / "a", CODE) == of(tmp_path / "b", CODE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("radius**2", "radius**3"),
        ("radius < 0", "radius <= 0"),
        ('name = "circle"', 'name = "disc"'),
        ('name = "circle"', "name = None"),
        ('name = "circle"', "name: str"),
        (".2f", ".3f"),
        ("radius:", "diameter:"),
        ('parts=("a", "b")', 'parts=("a",)'),
        ("raise ValueError", "return ValueError"),
        ('    """Of the class."""\n\n    name', '    """Of the class."""\n    """a second text"""\n    name'),
    ],
)
def test_whatever_else_says_something_new_counts(tmp_path, old, new):
    assert old in CODE
    assert of(tmp_path / "a", CODE) != of(tmp_path / "b", CODE.replace(old, new))


def test_of_yaml_the_content_counts_and_of_other_files_every_byte(tmp_path):
    same = of(tmp_path / "a", "rows: {a: 1}\n", "table.yaml")
    assert same == of(tmp_path / "b", "# a comment\nrows:\n  a: 1\n", "table.yaml")
    assert same != of(tmp_path / "c", "rows: {a: 2}\n", "table.yaml")
    assert of(tmp_path / "d", "a {}", "style.css") != of(tmp_path / "e", "a { }", "style.css")


def test_every_file_and_their_order_count(tmp_path):
    first, second = tmp_path / "a.py", tmp_path / "b.py"
    first.write_text("a = 1")
    second.write_text("a = 2")
    values = {content_sha256(paths) for paths in ([first], [second], [first, second], [second, first], [])}
    assert len(values) == 5


def test_a_file_that_is_not_what_its_name_says_is_named(tmp_path):
    (tmp_path / "a.yaml").write_text("a: [")
    with pytest.raises(InputError, match=r"a\.yaml"):
        content_sha256([tmp_path / "a.yaml"])
    (tmp_path / "a.py").write_text("a = (")
    with pytest.raises(SyntaxError):
        content_sha256([tmp_path / "a.py"])
