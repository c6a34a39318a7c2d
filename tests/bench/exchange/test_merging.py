"""What becomes of a sound bundle: its records lie beside ours, and nothing of ours is overwritten, averaged or doubled."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from pathlib import Path

import forger
import pytest
from cli_tools import Bench
from forger import Files

from clusterbench.results.groups import group_records
from clusterbench.results.record import scan_records

SMOKE = ("--method", "kmeans", "--dataset", "digits", "--preset", "smoke")


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def names(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.rglob("record.json"))


def take(bench: Bench, bundle: Path, *words: str) -> str:
    """Import it, and return what was printed."""
    ran = bench("import", str(bundle), "--mlflow", "off", "-q", *words)
    assert ran.code == 0, ran.err
    return ran.out


def run_again(out: Path, seed: int) -> Path:
    """What the record of one seed would be had it been run at another time."""
    (path,) = out.glob(f"kmeans-digits-smoke-s{seed}-*/record.json")
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "created": "2020-01-01T00:00:00.000+00:00"}))
    return path.parent


def test_a_bundle_comes_whole_and_says_where_it_came_from(bench: Bench, bundle: Path, runs_of_oxford: Path) -> None:
    assert take(bench, bundle).startswith("oxford.tar.gz: 2 new, 0 here already, 0 left out; in ")
    assert names(bench.out) == [f"{name}@oxford" for name in names(runs_of_oxford)]
    for folder in bench.out.iterdir():
        arrived = content(folder)
        origin = json.loads(arrived.pop("origin.json"))
        assert origin.pop("imported") > "2020"
        digest = hashlib.sha256(bundle.read_bytes()).hexdigest()
        assert origin == {"lab": "oxford", "bundle": "oxford.tar.gz", "sha256": digest, "metrics": "recomputed"}
        there = content(runs_of_oxford / folder.name.partition("@")[0])
        assert arrived == {name: there[name] for name in arrived}
        assert set(arrived) == {"record.json", "labels.npz", "epochs.jsonl", "config.yaml"}


def test_the_same_spec_run_by_two_laboratories_is_shown_side_by_side(bench: Bench, bundle: Path) -> None:
    take(bench, bundle)
    assert bench.run("--method", "kmeans", "--preset", "smoke", "--seeds", "2", "-q").code == 0
    ours = [path for path in bench.out.glob("kmeans-*") if "@" not in path.name]
    assert len(ours) == 2, "the trials ran, whoever else has run them"
    groups = {group.lab: group for group in group_records(scan_records(bench.out)[0])}
    assert {lab: group.n for lab, group in groups.items()} == {None: 2, "oxford": 2}
    assert groups["oxford"].name.endswith("(lab oxford)") and "lab" not in groups[None].name
    rows = list(csv.DictReader(io.StringIO(bench("leaderboard", "--format", "csv").out)))
    assert sorted((row["method"], row["lab"], row["n"]) for row in rows) == [("kmeans", "", "2"), ("kmeans", "oxford", "2")]
    assert "kmeans (lab oxford)" in bench("leaderboard", "--format", "markdown").out


def test_records_of_ours_are_not_touched_by_those_of_others(bench: Bench, bundle: Path) -> None:
    assert bench.run("--method", "kmeans", "--preset", "smoke", "-q").code == 0
    before = content(bench.out)
    assert ": 2 new," in take(bench, bundle)
    assert {name: data for name, data in content(bench.out).items() if name in before} == before


def test_nothing_is_doubled(bench: Bench, bundle: Path) -> None:
    take(bench, bundle)
    before = content(bench.out)
    assert take(bench, bundle).startswith("oxford.tar.gz: 0 new, 2 here already, 0 left out")
    again = bench("import", str(bundle), str(bundle), "--mlflow", "off", "-q")
    assert again.code == 0 and content(bench.out) == before


def test_one_run_is_not_two_laboratories_runs(bench: Bench, bundle: Path) -> None:
    """Somebody who packs another's records under a name of their own adds nothing."""
    take(bench, bundle)
    before = content(bench.out)
    copied = forger.written(forger.sealed(forger.opened(bundle), lab="harvard"), bundle.with_name("copied.tar.gz"))
    assert take(bench, copied).startswith("copied.tar.gz: 0 new, 2 here already, 0 left out")
    assert content(bench.out) == before


def test_another_story_of_a_run_that_is_here_is_left_out(bench: Bench, bundle: Path) -> None:
    take(bench, bundle)
    before = content(bench.out)

    def change(files: Files) -> None:
        forger.edit_record(files, lambda record: record["provenance"].update(cpu="a faster one"))

    changed = forger.written(forger.sealed(forger.opened(forger.forged(bundle, change)), lab="harvard"), bundle)
    ran = bench("import", str(changed), "--mlflow", "off", "-q")
    assert ran.code == 1 and ": 0 new, 1 here already, 1 left out" in ran.out and "tells another story of that run" in ran.said
    assert content(bench.out) == before


def test_a_second_run_of_one_laboratory_does_not_replace_its_first(bench: Bench, bundle: Path, theirs: Path) -> None:
    take(bench, bundle)
    before = content(bench.out)
    run_again(theirs, 0)
    assert bench("export", "again.tar.gz", "--lab", "oxford", "--out", str(theirs), "-q").code == 0
    ran = bench("import", "again.tar.gz", "--mlflow", "off", "-q")
    assert ran.code == 1 and ": 0 new, 1 here already, 1 left out" in ran.out
    assert "is another run of oxford of that trial and was left as it is" in ran.said and content(bench.out) == before


def test_three_laboratories_may_run_one_trial(bench: Bench, bundle: Path, theirs: Path) -> None:
    take(bench, bundle)
    run_again(theirs, 0)
    assert bench("export", "h.tar.gz", "--lab", "harvard", "--out", str(theirs), "-q").code == 0
    assert ": 1 new, 1 here already, 0 left out" in take(bench, Path("h.tar.gz"))
    groups = group_records(scan_records(bench.out)[0])
    assert sorted((str(group.lab), group.n) for group in groups) == [("harvard", 1), ("oxford", 2)]


def test_our_own_bundle_brings_our_own_records(
    bench: Bench, bundle: Path, runs_of_oxford: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLUSTERBENCH_LAB", "oxford")
    assert take(bench, bundle).rstrip().endswith(", your own")
    assert names(bench.out) == names(runs_of_oxford) and not list(bench.out.rglob("origin.json"))
    assert all(record.lab is None for record in scan_records(bench.out)[0])
    assert bench.run("--method", "kmeans", "--preset", "smoke", "--seeds", "2", "-q").code == 0
    assert len(names(bench.out)) == 2, "nothing is left to run"


def test_records_without_labels_are_taken_and_said_to_be_unproven(bench: Bench, bundle: Path) -> None:
    forgery = forger.forged(bundle, lambda files: [files.pop(path) for path in list(files) if path.endswith("labels.npz")])
    ran = bench("import", str(forgery), "--mlflow", "off", "-q")
    assert ran.code == 0 and "2 came without label vectors, so their metrics could not be computed again" in ran.said
    told = {json.loads(path.read_text())["metrics"] for path in bench.out.rglob("origin.json")}
    assert told == {"not recomputed"}


def test_labels_that_lack_are_added_by_their_laboratory_only(bench: Bench, bundle: Path) -> None:
    bare = forger.forged(bundle, lambda files: [files.pop(path) for path in list(files) if path.endswith("labels.npz")])
    take(bench, bare)
    copied = forger.written(forger.sealed(forger.opened(bundle), lab="harvard"), bundle.with_name("copied.tar.gz"))
    take(bench, copied)
    assert not list(bench.out.rglob("labels.npz"))
    take(bench, bundle)
    assert len(list(bench.out.rglob("labels.npz"))) == 2


def test_records_of_sweeps_lie_in_a_sweep_of_their_laboratory(bench: Bench, theirs: Path) -> None:
    for folder in list(theirs.iterdir()):
        shutil.move(folder, theirs / "sweeps" / "mine" / folder.name)
    assert bench("export", "s.tar.gz", "--lab", "oxford", "--out", str(theirs), "-q").code == 0
    take(bench, Path("s.tar.gz"))
    assert {path.relative_to(bench.out).parent.as_posix() for path in bench.out.glob("sweeps/*/*")} == {"sweeps/mine@oxford"}
    before = content(bench.out)
    assert ": 0 new, 2 here already" in take(bench, Path("s.tar.gz")) and content(bench.out) == before


def test_records_of_others_are_not_passed_on_as_ours(bench: Bench, bundle: Path) -> None:
    take(bench, bundle)
    alone = bench("export", "ours.tar.gz", "--lab", "cambridge", "-q")
    assert alone.code == 1 and "None of the 2 records" in alone.said and not Path("ours.tar.gz").exists()
    assert bench.run("--method", "kmeans", "--preset", "smoke", "-q").code == 0
    both = bench("export", "ours.tar.gz", "--lab", "cambridge", "-q")
    assert (
        both.code == 0 and both.out.startswith("packed 1 records of cambridge") and "2 of other laboratories left out" in both.out
    )


def test_what_would_be_refused_is_not_packed(bench: Bench, theirs: Path) -> None:
    (path,) = theirs.glob("*-s0-*/record.json")
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 5', 1))
    shutil.copytree(next(theirs.glob("*-s1-*")), theirs / "a copy")
    ran = bench("export", "o.tar.gz", "--lab", "oxford", "--out", str(theirs), "-q")
    assert ran.code == 1 and ran.out.startswith("packed 1 records of oxford")
    assert f"{path.parent} is left out: its id " in ran.said and "is a record of the same trial" in ran.said
    take(bench, Path("o.tar.gz"))


def test_the_checksum_that_was_promised_must_be_that_of_the_bundle(bench: Bench, bundle: Path) -> None:
    digest = hashlib.sha256(bundle.read_bytes()).hexdigest()
    other = bench("import", str(bundle), "--mlflow", "off", "--sha256", "0" * 64)
    assert other.code == 1 and f"its SHA-256 is {digest}, not what you gave" in other.said and not bench.out.exists()
    assert bench("import", "--mlflow", "off", "--sha256", digest).code == 2
    take(bench, bundle, "--sha256", digest.upper())


def test_the_checksum_of_a_bundle_is_printed_for_its_sender(bench: Bench, theirs: Path) -> None:
    ran = bench("export", "o.tar.gz", "--lab", "oxford", "--out", str(theirs), "-q")
    assert ran.out.splitlines()[-1] == f"SHA-256 {hashlib.sha256(Path('o.tar.gz').read_bytes()).hexdigest()}"


@pytest.mark.parametrize(("words", "said"), [
    ((), "Say whose records these are: --lab NAME, or set $CLUSTERBENCH_LAB."),
    (("--lab", "the best lab"), "'the best lab' cannot name a laboratory"),
])  # fmt: skip
def test_a_bundle_needs_the_name_of_a_laboratory(bench: Bench, theirs: Path, words: tuple[str, ...], said: str) -> None:
    ran = bench("export", "o.tar.gz", *words, "--out", str(theirs))
    assert ran.code in (1, 2) and said in ran.said and not Path("o.tar.gz").exists()


def test_what_others_left_unfinished_is_not_resumed_here(bench: Bench, theirs: Path) -> None:
    (path,) = theirs.glob("*-s0-*/record.json")
    stopped = {**json.loads(path.read_text()), "status": "stopped", "stop_reason": "interrupted"}
    path.write_text(json.dumps(stopped))
    assert "interrupted after epoch 1" in bench("resume", "--list", "--out", str(theirs)).out
    bench("export", "o.tar.gz", "--lab", "oxford", "--out", str(theirs), "-q")
    take(bench, Path("o.tar.gz"))
    listed = bench("resume", "--list")
    assert listed.code == 0 and "interrupted" not in listed.out


def test_a_damaged_record_of_ours_does_not_stop_the_others(bench: Bench, bundle: Path) -> None:
    take(bench, bundle)
    (damaged,) = bench.out.glob("*-s0-*@oxford/record.json")
    damaged.write_text("{")
    (other,) = bench.out.glob("*-s1-*@oxford")
    shutil.rmtree(other)
    ran = bench("import", str(bundle), "--mlflow", "off", "-q")
    assert ran.code == 1 and ": 1 new, 0 here already, 1 left out" in ran.out and "record.json is damaged" in ran.said
