"""Records on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench import store
from swapbench.errors import BadRecord, EnvironmentFailed
from swapbench.records import SCHEMA_VERSION, Record

GOLDEN = Path(__file__).parent / "golden" / "record_v1.json"


@pytest.fixture
def record() -> Record:
    return store.load(GOLDEN)


def test_a_record_of_every_schema_version_loads_for_ever() -> None:
    versions = [int(path.stem.split("_v")[1]) for path in GOLDEN.parent.glob("record_v*.json")]
    assert sorted(versions) == list(range(1, SCHEMA_VERSION + 1))
    for path in GOLDEN.parent.glob("record_v*.json"):
        assert isinstance(store.load(path), Record)


def test_what_is_saved_is_what_is_loaded(record: Record, tmp_path: Path) -> None:
    assert store.load(store.save(record, tmp_path)) == record


def test_a_record_is_never_rewritten(record: Record, tmp_path: Path) -> None:
    store.save(record, tmp_path)
    with pytest.raises(EnvironmentFailed, match="never overwritten"):
        store.save(record, tmp_path)


def test_samples_stand_on_one_line_each_slice() -> None:
    assert store.dumps({"a": [1, 2, 3], "b": {"c": [[1, 2], [3]]}}) == (
        '{\n "a": [1, 2, 3],\n "b": {\n  "c": [\n   [1, 2],\n   [3]\n  ]\n }\n}'
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_any_json_value_reads_back_as_itself(value: object) -> None:
    assert json.loads(store.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a readable record"),
        ("{", "not a readable record"),
        ("[]", "no schema_version"),
        ('{"schema_version": "1"}', "no schema_version"),
        ('{"schema_version": 1}', "damaged at"),
        ('{"schema_version": 999}', "reads up to"),
    ],
)
def test_a_damaged_or_foreign_record_is_named_with_its_reason(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(BadRecord, match=reason):
        store.load(path)


def test_a_missing_record_is_a_bad_record(tmp_path: Path) -> None:
    with pytest.raises(BadRecord, match="no record"):
        store.load(tmp_path / "none.json")


def test_a_run_without_records_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(BadRecord, match="swapbench run"):
        store.load_run(tmp_path)


def test_the_newest_run_is_the_one_with_the_newest_record(record: Record, tmp_path: Path) -> None:
    import os

    assert store.newest_run(tmp_path) is None
    old = store.save(record, tmp_path / "b-old")
    new = store.save(record, tmp_path / "a-new")
    os.utime(old, ns=(1, 1))
    os.utime(new, ns=(2, 2))
    assert store.newest_run(tmp_path) == tmp_path / "a-new"
