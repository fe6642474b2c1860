import numpy as np
import pandas as pd

from drasclr_core.cohort.persons import are_shared, person_indices, person_notes, persons_of, table_persons


def test_a_person_is_named_by_the_first_of_their_ids():
    found = persons_of(["c", "b", "d", "a"], ["Eve", "Eve", "", None])
    assert found == {"a": "a", "b": "b", "c": "b", "d": "d"}
    assert are_shared(found)
    assert not are_shared(persons_of(["a", "b"], ["Zoe", "Eve"]))


def test_a_table_without_the_column_has_a_person_a_scan():
    table = pd.DataFrame({"participant_id": ["b", "a", "c"]})
    assert table_persons(table) == {"a": "a", "b": "b", "c": "c"}
    assert table_persons(table.assign(person=["x", None, "x"])) == {"a": "a", "b": "b", "c": "b"}


def test_indices_count_persons_as_they_appear():
    found = person_indices(["b", "a", "b", "c"])
    assert (found.dtype, found.tolist()) == (np.int64, [0, 1, 0, 2])
    assert person_notes("gold", found) == ["gold: 4 scans of 3 persons."]
    assert person_notes("gold", np.arange(4)) == []
