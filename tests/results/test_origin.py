"""Whose a record is: told by a file beside it, never by the record itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clusterbench.results.record import Record, RecordError, RecordWriter, read_record, scan_records

ORIGIN = {"lab": "oxford", "bundle": "o.tar.gz", "sha256": "0" * 64, "imported": "2025-06-01T10:00:00.000+00:00"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A record of ours."""
    writer = RecordWriter(tmp_path / "run")
    writer.start(id="0123456789ab", spec={"method": "iic", "seed": 0})
    writer.finish(epochs_done=1)
    return writer.folder


def test_a_record_with_an_origin_is_its_laboratorys(folder: Path) -> None:
    assert (read_record(folder).origin, read_record(folder).lab) == (None, None)
    (folder / "origin.json").write_text(json.dumps(ORIGIN))
    assert (read_record(folder).origin, read_record(folder).lab) == (ORIGIN, "oxford")


def test_a_record_cannot_say_itself_whose_it_is(folder: Path) -> None:
    path = folder / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "origin": {"lab": "ours"}, "lab": "ours"}))
    assert read_record(folder).origin is None
    (folder / "origin.json").write_text(json.dumps(ORIGIN))
    assert read_record(folder).lab == "oxford"


def test_a_change_of_a_record_keeps_its_origin_and_does_not_write_it_into_the_record(folder: Path) -> None:
    (folder / "origin.json").write_text(json.dumps(ORIGIN))
    changed = RecordWriter(folder).update(selection_gap=0.25)
    assert changed.lab == "oxford" and read_record(folder).lab == "oxford"
    assert "origin" not in json.loads((folder / "record.json").read_text())


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"lab": null}', '{"lab": 3}', '{"lab": ""}'])
def test_a_record_whose_owner_cannot_be_read_counts_for_nobody(folder: Path, content: str) -> None:
    (folder / "origin.json").write_text(content)
    with pytest.raises(RecordError, match="import its bundle again"):
        read_record(folder)
    records, damaged = scan_records(folder.parent)
    assert records == [] and len(damaged) == 1


def test_a_record_made_without_a_folder_is_ours() -> None:
    about: dict[str, Any] = {"id": "0123456789ab", "created": "2025-06-01T10:00:00.000+00:00", "spec": {}}
    assert Record(**about).lab is None
