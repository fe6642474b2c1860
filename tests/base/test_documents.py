"""YAML is read as version 1.2 says, plainly, and no document can keep a program busy."""

import pytest
import yaml

from drasclr_core.base.documents import plain_values, read_yaml, schema_faults
from drasclr_core.base.errors import InputError


def read(folder, text):
    (folder / "c.yaml").write_text(text, encoding="utf-8")
    return read_yaml(folder / "c.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4:00:00", "4:00:00"),  # YAML 1.1: 14400
        ("1:30", "1:30"),
        ("040", 40),  # YAML 1.1: 32
        ("00123", 123),
        ("0o17", 15),
        ("0x1F", 31),
        ("12_34", "12_34"),  # YAML 1.1: 1234
        ("1e-4", 1e-4),  # YAML 1.1: text
        ("1.5E+3", 1500.0),
        (".5", 0.5),
        ("-3", -3),
        ("+7", 7),
        ("no", "no"),  # YAML 1.1: False
        ("On", "On"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("2026-11-29", "2026-11-29"),  # YAML 1.1: a date
        ("0b11", "0b11"),
        ("1.2.3", "1.2.3"),
        ("'040'", "040"),
        ("=", "="),
        (".inf", float("inf")),
    ],
)
def test_scalars(tmp_path, text, value):
    found = read(tmp_path, f"key: {text}\n")["key"]
    assert (type(found), found) == (type(value), value)


def test_what_yaml_1_1_and_1_2_agree_on_is_read_as_pyyaml_reads_it(tmp_path):
    text = "a: [1, 2.5, three, {b: null}]\nc: &x\n  d: true\ne: {<<: *x, f: 'g'}\nh: |\n  two\n  lines\n"
    assert read(tmp_path, text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: &x {b: *x}",
        "a: &x [1, *x]",
        "a: &x {b: &y [*x]}\nc: *x",
        "\n".join(["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12))]),
        "\n".join(["a0: &a0 {k: v}", *(f"a{i}: &a{i} {{l: *a{i - 1}, r: *a{i - 1}}}" for i in range(1, 40))]),
    ],
    ids=["itself", "in a list", "far below", "bomb of lists", "bomb of mappings"],
)
def test_endless_and_overlong_documents_are_refused(tmp_path, text):
    with pytest.raises(
        InputError, match=r"c\.yaml: it (contains itself|unfolds to more than 100,000 values): write out"
    ):
        read(tmp_path, text)


@pytest.mark.parametrize("text", ["[" * 200_000, "[" * 101 + "]" * 101, "{a: " * 150 + "1" + "}" * 150])
def test_what_is_nested_without_end_is_refused(tmp_path, text):
    with pytest.raises(InputError, match=r"c\.yaml is not valid YAML: it is nested more than 100 levels deep"):
        read(tmp_path, text)


def test_an_alias_that_stands_twice_is_not_endless(tmp_path):
    assert read(tmp_path, "a: &x [1, 2]\nb: [*x, *x]\nc: *x") == {"a": [1, 2], "b": [[1, 2], [1, 2]], "c": [1, 2]}


@pytest.mark.parametrize(
    ("path", "value", "advice"),
    [
        (("atlases", "healthy", "participant"), 123, "123 is not of type 'string': put it in quotes if it is a name"),
        (("pretrain", "head_norm"), "no", "'no' is not of type 'boolean': give true or false"),
        (("pretrain", "time_limit_minutes"), "4:00:00", "'4:00:00' is not of type"),
    ],
)
def test_faults_say_how_to_write_it(path, value, advice):
    from workflow_run import FULL, changed

    faults = schema_faults(changed(FULL, {".".join(path): value}), "config")
    assert any(advice in fault for fault in faults), faults


def test_values_of_the_command_line_are_read_as_yaml():
    given = {"seed": 1, "pretrain": {"epochs": "2", "learning_rate": "1e-4", "recipe": "small"}, "keep": ["1", "a"]}
    expected = {"seed": 1, "pretrain": {"epochs": 2, "learning_rate": 1e-4, "recipe": "small"}, "keep": [1, "a"]}
    assert plain_values(given) == expected
