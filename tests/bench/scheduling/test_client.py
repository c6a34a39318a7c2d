"""What is told by a driver on another machine, as it is heard here; the way there is in test_existing_cluster."""

from __future__ import annotations

from pathlib import Path

import tracking_tools as tools

from clusterbench.bench.scheduling.client import _Localised
from clusterbench.bench.scheduling.events import Listener
from clusterbench.bench.scheduling.remote import Remote
from clusterbench.bench.scheduling.storage import Mirror, Storage
from clusterbench.results.record import Record


class Heard(Listener):
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.logs: list[Path | None] = []

    def on_finish(self, key: str, record: Record) -> None:
        self.records.append(record)

    def on_fail(self, key: str, reason: str, log: Path | None) -> None:
        self.logs.append(log)


def test_a_record_in_a_remote_folder_is_brought_here_when_its_trial_ends_there(tmp_path: Path) -> None:
    uri, heard = (tmp_path / "remote").as_uri(), Heard()
    here, there = (Mirror(Remote.open(uri), tmp_path / side) for side in ("here", "there"))
    record = tools.complete(there.local, seed=3)
    there.push(record.folder.name)
    localised = _Localised(heard, here)
    localised.on_finish("3", record)
    (found,) = heard.records
    assert found.folder == here.local / record.folder.name and found.id == record.id and found.epochs() == record.epochs()
    assert localised.records == {"3": found}
    localised.on_fail("3", "it broke", record.folder / "record.json")
    localised.on_fail("4", "it broke before there was a record", None)
    assert heard.logs == [found.folder / "record.json", None]


def test_a_record_in_a_shared_folder_is_read_here_and_one_that_is_not_to_be_seen_yet_is_taken_as_told(tmp_path: Path) -> None:
    record, heard = tools.complete(tmp_path / "shared", seed=0), Heard()
    _Localised(heard, Storage(tmp_path / "shared")).on_finish("0", record.model_copy(update={"status": "running"}))
    _Localised(heard, Storage(tmp_path / "slow")).on_finish("0", record)
    assert [each.status for each in heard.records] == ["complete", "complete"]
    assert [each.folder for each in heard.records] == [record.folder] * 2
