"""The workflow does not start on faulty tables or configurations, and tells all faults at once."""

import pytest
from hostile_start import ACCEPTED, CONFIG_FAULTS, ROW_FAULTS, ROWS, TABLE_FAULTS, good_table
from workflow_run import DEFAULT, changed, snakemake, succeeded

pytestmark = pytest.mark.workflow

BASE = changed(
    DEFAULT,
    {
        "cohorts": {},
        "atlases": {"healthy": {"mask": "mask.nii.gz"}},
        "runs": {"laa950": {"method": "laa950", "atlas": "healthy"}},
    },
)


def refused(folder, config):
    """Return what Snakemake says, once it has refused to start and left nothing."""
    before = {path.name for path in folder.iterdir()}
    process = snakemake(folder, config, "preprocess")
    assert process.returncode != 0
    assert {path.name for path in folder.iterdir()} - before <= {"given.yaml", ".snakemake"}
    told = process.stdout + process.stderr
    assert "Traceback" not in told
    assert "rule ingest_scan" not in told
    return told


@pytest.fixture(scope="module")
def told_of_config(tmp_path_factory):
    changes = {key: value for _, change, _ in CONFIG_FAULTS.values() for key, value in change.items()}
    return refused(tmp_path_factory.mktemp("config"), changed(DEFAULT, changes))


@pytest.fixture(scope="module")
def told_of_tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    tables = {"rows.tsv": ROWS, **{name: content for _, name, content, _ in TABLE_FAULTS.values()}}
    for name, content in tables.items():
        (folder / name).write_bytes(content)
    cohorts = {name.partition(".")[0]: {"participants": name} for name in tables}
    roles = dict(zip(("copd", "covid"), cohorts, strict=False))
    lenders = {f"of-{name}": {"cohort": name, "participant": "a"} for name in cohorts}
    return refused(folder, {**BASE, "cohorts": cohorts, "roles": roles, "atlases": {**BASE["atlases"], **lenders}})


@pytest.mark.parametrize("name", CONFIG_FAULTS)
def test_a_faulty_configuration_stops_the_run(told_of_config, name):
    assert CONFIG_FAULTS[name][-1] in told_of_config


@pytest.mark.parametrize("name", [*ROW_FAULTS, *TABLE_FAULTS])
def test_a_faulty_table_stops_the_run(told_of_tables, name):
    assert {**ROW_FAULTS, **TABLE_FAULTS}[name][-1] in told_of_tables


def test_odd_and_sound_tables_are_accepted(tmp_path):
    for name, (_, oddity) in ACCEPTED.items():
        (tmp_path / f"{name}.tsv").write_bytes(good_table(oddity))
    cohorts = {name: {"participants": f"{name}.tsv"} for name in ACCEPTED}
    lenders = {f"of-{name}": {"cohort": name, "participant": "p0"} for name in cohorts}
    config = {**BASE, "cohorts": cohorts, "roles": {"copd": "table-bom", "covid": "table-crlf"}, "atlases": lenders}
    config["runs"] = {"laa950": {"method": "laa950", "atlas": "of-table-bom"}}
    told = succeeded(snakemake(tmp_path, config, "--dry-run", "preprocess"))
    assert "ingest_scan" in told
