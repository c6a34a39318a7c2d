"""`bench import` and `bench export`, as a user runs them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
import tracking_tools as tools
from cli_tools import Bench

FILES = {"record.json", "config.yaml", "epochs.jsonl"}


@pytest.fixture
def records(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default output folder with two finished records, one that runs, and an empty store; our laboratory has a name."""
    monkeypatch.setenv("CLUSTERBENCH_LAB", "ours")
    tools.new_store(bench.out)
    for seed in (0, 1):
        (tools.complete(bench.out, seed).folder / "model.safetensors").write_bytes(b"weights")
    tools.begun(bench.out, tools.spec(2), 1)
    return bench.out


def folder_of(seed: int) -> str:
    return tools.spec(seed).folder_name()


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def repacked(archive: Path, target: Path, changes: dict[str, bytes]) -> Path:
    """A copy of an archive with other contents, with more members, and without a manifest, as archives once were."""
    with tarfile.open(archive) as source, tarfile.open(target, "w:gz") as packed:
        members = {entry.name: source.extractfile(entry).read() for entry in source}  # type: ignore[union-attr]
        del members["manifest.json"]
        for name, data in {**members, **changes}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            packed.addfile(entry, io.BytesIO(data))
    return target


def test_records_are_fed_once_and_what_is_not_finished_is_passed_over(bench: Bench, records: Path) -> None:
    first, second = bench("import"), bench("import", str(records), str(records / folder_of(0)))
    assert (first.code, second.code) == (0, 0)
    assert first.out.startswith("fed 2, already there 0, failed 0; in sqlite:///")
    assert second.out.startswith("fed 0, already there 2, failed 0;")
    assert "1 not finished and passed over" in first.said
    uri = f"sqlite:///{records}/mlflow.db"
    assert [run.info.run_name for run in tools.runs(uri)] == sorted(map(folder_of, (0, 1)))


def test_records_of_sweeps_are_found_and_experiments_named(bench: Bench, records: Path) -> None:
    tools.complete(records / "sweeps" / "mine", 5)
    ran = bench("import", "--experiment", "other")
    assert ran.code == 0 and ran.out.startswith("fed 3,") and "experiment other" in ran.out


def test_a_damaged_record_is_named_and_the_others_are_fed(bench: Bench, records: Path) -> None:
    (records / folder_of(0) / "record.json").write_text("{")
    ran = bench("import")
    assert ran.code == 1 and ran.out.startswith("fed 1, already there 0, failed 1;")
    assert f"{folder_of(0)}/record.json is damaged" in ran.said


def test_a_dead_store_is_not_asked_for_every_record(bench: Bench, records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for seed in range(3, 8):
        tools.complete(records, seed)
    ran = bench("import", "--mlflow", "http://127.0.0.1:9")
    assert ran.code == 1 and ran.out.startswith("fed 0, already there 0, failed 7;")
    assert ran.err.count("Connection refused") == 3 and "the other 4 were not tried" in ran.said


def test_what_is_no_folder_or_holds_nothing_is_said(bench: Bench, tmp_path: Path) -> None:
    absent = bench("import", "nowhere")
    assert absent.code == 1 and "nowhere is neither a folder of records nor a bundle" in absent.said
    (tmp_path / "empty").mkdir()
    nothing = bench("import", "empty", "--mlflow", "off")
    assert nothing.code == 0 and "no record in empty. Make one: bench run" in nothing.said


def test_records_go_through_an_archive_unchanged(bench: Bench, records: Path, tmp_path: Path) -> None:
    tools.complete(records / "sweeps" / "mine", 5)
    packed = bench("export", "share.tar.gz")
    assert packed.code == 0 and packed.out.startswith("packed 3 records") and "1 unfinished left out" in packed.out
    other = tmp_path / "elsewhere"
    taken = bench("import", "share.tar.gz", "--out", str(other), "--mlflow", "off")
    assert taken.code == 0 and taken.out.startswith("share.tar.gz: 3 new, 0 here already, 0 left out; in ")
    arrived = content(other)
    assert {name.split("/")[0] for name in arrived} == {folder_of(0), folder_of(1), "sweeps"}
    assert {Path(name).name for name in arrived} == FILES
    assert all((records / name).read_bytes() == data for name, data in arrived.items())
    again = bench("import", "share.tar.gz", "--out", str(other), "--mlflow", "off")
    assert again.out.startswith("share.tar.gz: 0 new, 3 here already") and content(other) == arrived


def test_weights_are_packed_if_asked_and_added_to_records_that_lack_them(bench: Bench, records: Path, tmp_path: Path) -> None:
    bench("export", "bare.tar.gz")
    bench("export", "whole.tar.gz", "--weights")
    other = tmp_path / "elsewhere"
    for archive in ("bare.tar.gz", "whole.tar.gz"):
        bench("import", archive, "--out", str(other), "--mlflow", "off")
        weights = sorted(path.parent.name for path in other.rglob("model.safetensors"))
        assert weights == ([] if archive.startswith("bare") else sorted(map(folder_of, (0, 1))))


def test_only_what_is_asked_for_is_packed(bench: Bench, records: Path) -> None:
    assert bench("export", "a.tar.gz", "--method", "drift", "--dataset", "tiny").out.startswith("packed 2 records")
    none = bench("export", "b.tgz", "--method", "iic")
    assert none.code == 1 and "No finished record to pack" in none.said and not Path("b.tgz").exists()


def test_an_archive_is_not_replaced_unasked(bench: Bench, records: Path) -> None:
    Path("mine.tar.gz").write_bytes(b"precious")
    assert bench("export", "mine.tar.gz").code == 2 and Path("mine.tar.gz").read_bytes() == b"precious"
    assert bench("export", "mine.tar.gz", "--force").code == 0
    assert bench("export", "mine.zip").code == 2


def test_another_record_of_the_same_name_is_left_as_it_is(bench: Bench, records: Path) -> None:
    bench("export", "share.tar.gz")
    (mine := records / folder_of(0) / "record.json").write_text(mine.read_text().replace('"abc"', '"my own"'))
    before = content(records)
    ran = bench("import", "share.tar.gz", "--mlflow", "off")
    assert ran.code == 1 and ": 0 new, 1 here already, 1 left out" in ran.out
    assert f"{folder_of(0)} tells another story of that run" in ran.said and content(records) == before


def test_an_archive_without_a_manifest_is_taken_only_unverified(bench: Bench, records: Path, tmp_path: Path) -> None:
    bench("export", "share.tar.gz")
    old = repacked(Path("share.tar.gz"), tmp_path / "old.tar.gz", {})
    other = tmp_path / "elsewhere"
    refused = bench("import", str(old), "--out", str(other), "--mlflow", "off")
    assert refused.code == 1 and "--unverified" in refused.said and content(other) == {}
    taken = bench("import", str(old), "--out", str(other), "--mlflow", "off", "--unverified")
    assert taken.code == 0 and "nothing in it was checked, and its records count as your own" in taken.said
    assert taken.out.startswith("old.tar.gz: 2 new, 0 here already, 0 left out") and not list(other.rglob("origin.json"))
    assert content(other) == {name: data for name, data in content(records).items() if name in content(other)}


def test_an_unverified_archive_overwrites_nothing(bench: Bench, records: Path, tmp_path: Path) -> None:
    bench("export", "share.tar.gz")
    old = repacked(Path("share.tar.gz"), tmp_path / "old.tar.gz", {})
    (mine := records / folder_of(0) / "record.json").write_text(mine.read_text().replace('"abc"', '"my own"'))
    before = content(records)
    ran = bench("import", str(old), "--mlflow", "off", "--unverified")
    assert ran.code == 1 and ": 0 new, 1 here already, 1 left out" in ran.out
    assert f"{folder_of(0)} holds another record of that name" in ran.said and content(records) == before


def test_records_of_another_laboratory_are_runs_of_their_own_in_mlflow(bench: Bench, records: Path) -> None:
    bench("import")
    elsewhere = records.parent / "oxford"
    tools.complete(elsewhere, 0)
    bench("export", "oxford.tar.gz", "--lab", "oxford", "--out", str(elsewhere))
    assert bench("import", "oxford.tar.gz").code == 0
    found = {run.info.run_name: run.data.tags.get("clusterbench.lab") for run in tools.runs(f"sqlite:///{records}/mlflow.db")}
    assert found == {folder_of(0): None, folder_of(1): None, f"{folder_of(0)}@oxford": "oxford"}


def test_only_the_files_of_records_are_taken(bench: Bench, records: Path, tmp_path: Path) -> None:
    bench("export", "share.tar.gz")
    foreign = {"README": b"read me", f"{folder_of(0)}/.lock": b"", f"{folder_of(0)}/checkpoint/latest.pt": b"pickled", "x/y": b""}
    damaged = {f"{folder_of(1)}/record.json": b"{"}
    repacked(Path("share.tar.gz"), tmp_path / "changed.tar.gz", foreign | damaged)
    other = tmp_path / "elsewhere"
    ran = bench("import", "changed.tar.gz", "--out", str(other), "--mlflow", "off", "--unverified")
    assert ran.code == 1 and f"{folder_of(1)} in the archive/record.json is damaged" in ran.said
    assert set(content(other)) == {f"{folder_of(0)}/{name}" for name in FILES}


def test_an_archive_that_reaches_outside_is_refused(bench: Bench, records: Path, tmp_path: Path) -> None:
    bench("export", "share.tar.gz")
    evil = repacked(Path("share.tar.gz"), tmp_path / "evil.tar.gz", {"../outside/record.json": b"{}"})
    ran = bench("import", str(evil), "--out", str(tmp_path / "elsewhere"), "--mlflow", "off")
    assert ran.code == 1 and "not safe to open" in ran.said
    assert not (tmp_path / "outside").exists() and content(tmp_path / "elsewhere") == {}


def test_an_archive_without_records_is_said(bench: Bench, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "holiday.tar.gz", "w:gz") as packed:
        packed.addfile(tarfile.TarInfo("pictures/beach.jpg"))
    ran = bench("import", "holiday.tar.gz", "--mlflow", "off")
    assert ran.code == 1 and "holds no record" in ran.said
