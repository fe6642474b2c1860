import pytest

from drasclr_core.base.errors import QualityError
from drasclr_core.base.files import run_subject_stage
from drasclr_core.cohort.flow import check_exclusions, collect_subjects, read_included


def collected(folder, reasons):
    """Return the two tables of a cohort: id -> None, or (stage, reason) of its exclusion."""
    for id_, exclusion in reasons.items():

        def work(_, exclusion=exclusion):
            if exclusion:
                raise QualityError(exclusion[1])
            return {}

        run_subject_stage(folder / id_, exclusion[0] if exclusion else "patches", id_, [], work)
    tables = folder / "included.tsv", folder / "exclusions.tsv"
    collect_subjects([folder / id_ for id_ in reasons], *tables)
    return tables


COHORT = {"c": None, "a": ("ingest", 'says "no",\tthen\nends'), "b": None, "d": ("segment", "no lungs"), "e": None}


def test_everybody_is_in_one_of_the_two_tables_in_order(tmp_path):
    included, exclusions = collected(tmp_path, COHORT)
    assert included.read_text() == "participant_id\nc\nb\ne\n\n"
    assert read_included(included) == ["c", "b", "e"]
    assert exclusions.read_text().splitlines()[0] == "participant_id\tstage\treason"
    assert exclusions.read_text().endswith("\nd\tsegment\tno lungs\n\n")


def test_the_flow_counts_who_left_where(tmp_path):
    tables = collected(tmp_path, COHORT)
    assert check_exclusions(*tables, max_excluded_fraction=0.4) == {
        "entered": 5,
        "included": 3,
        "excluded": 2,
        "excluded_by_stage": {"ingest": 1, "segment": 1},
    }


def test_too_many_exclusions_stop_and_say_what_to_do(tmp_path):
    tables = collected(tmp_path, COHORT)
    with pytest.raises(QualityError, match=r"2 of 5 participants .*max_excluded_fraction \(0.39\).*exclude_reason"):
        check_exclusions(*tables, max_excluded_fraction=0.39)


def test_whom_the_table_excludes_does_not_count_but_is_in_the_flow(tmp_path):
    named = {f"n{number}": ("table", "broken") for number in range(4)}
    tables = collected(tmp_path, {**dict.fromkeys("abc"), "d": ("segment", "no lungs"), **named})
    assert check_exclusions(*tables, max_excluded_fraction=0.25) == {
        "entered": 8,
        "included": 3,
        "excluded": 5,
        "excluded_by_stage": {"segment": 1, "table": 4},
    }
    with pytest.raises(QualityError, match="1 of 4 participants"):
        check_exclusions(*tables, max_excluded_fraction=0.24)


def test_a_cohort_of_nobody_stops_whatever_the_fraction(tmp_path):
    tables = collected(tmp_path, {"a": ("ingest", "empty file")})
    with pytest.raises(QualityError, match="1 of 1 participants are excluded"):
        check_exclusions(*tables, max_excluded_fraction=1.0)
    tables = collected(tmp_path, {"a": ("table", "withdrawn")})
    with pytest.raises(QualityError, match="nobody is left"):
        check_exclusions(*tables, max_excluded_fraction=1.0)
