"""`bench resume` and what it goes by: the commands that an output folder remembers, and trials left unfinished without one."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from cli_tools import Bench
from trial_fakes import Drift

from clusterbench.bench.last_run import FILE, KEPT, history, recall, remember
from clusterbench.results.record import RecordError, find_records

DRIFT = (
    *("run", "--method", "drift", "--dataset", "digits", "--seeds", "2", "--epochs", "4"),
    *("--mlflow", "off", "--address", "none"),
)


@pytest.fixture
def interrupted(bench: Bench, drift: type, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Two trials of `drift`, the first of which was interrupted after epoch 2, and no remembered command."""
    monkeypatch.setattr(Drift, "faults_left", 1)
    monkeypatch.setattr("clusterbench.bench.checkpoint.Checkpoints.due", lambda self: True)
    assert bench(*DRIFT, "--set", "fault=ctrl-c", "--set", "fault_at=3").code == 130
    shutil.rmtree(bench.out / FILE.parent, ignore_errors=True)
    return bench


def words_of(bench: Bench) -> list[str]:
    return [*DRIFT, "--set", "fault=ctrl-c", "--set", "fault_at=3"]


def test_the_last_command_is_recalled_and_each_is_kept_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert recall(Path("out")) is None
    for words in (["run", "a"], ["run", "b c"], ["run", "a"]):
        remember(words, Path("out"))
    last = recall(Path("out"))
    assert last is not None
    assert (last.words, last.cwd, last.out) == (("run", "a"), str(tmp_path), str(tmp_path / "out"))
    assert [command.line for command in history(Path("out"))] == ["bench run a", "bench run 'b c'"]
    assert [path.name for path in (tmp_path / "out" / ".bench").iterdir()] == ["last-run.json"]


def test_no_more_than_a_few_commands_are_kept(tmp_path: Path) -> None:
    for number in range(KEPT + 5):
        remember(["run", str(number)], tmp_path)
    assert [command.words[1] for command in history(tmp_path)] == [str(KEPT + 4 - back) for back in range(KEPT)]


def test_a_damaged_memory_is_told_and_does_not_hinder_the_next_command(tmp_path: Path) -> None:
    remember(["run", "a"], tmp_path)
    for text in ("{", "[]", "{}", '{"schema": 1, "commands": [{"words": []}]}', "null"):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(RecordError, match="is damaged"):
            recall(tmp_path)
    remember(["run", "b"], tmp_path)
    assert [command.words for command in history(tmp_path)] == [("run", "b")]


def test_a_memory_of_a_newer_version_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_text(json.dumps({"schema": 99, "commands": []}))
    with pytest.raises(RecordError, match="newer clusterbench"):
        history(tmp_path)


def test_a_kill_while_it_is_written_leaves_the_memory_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(["run", "a"], tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            remember(["run", "b"], tmp_path)
    assert [command.words for command in history(tmp_path)] == [("run", "a")]


def test_resume_goes_on_with_the_last_command_in_its_folder(
    interrupted: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(words_of(interrupted), interrupted.out)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    argv = [*sys.argv]
    ran = interrupted("resume", "--out", "../bench-results")
    assert ran.code == 0
    assert f"bench: again: bench {shlex.join(words_of(interrupted))} (first given 20" in ran.err
    assert "going on after epoch 2" in ran.err
    records = find_records(interrupted.out)
    assert [(record.is_complete, record.epochs_done, record.cost["resumed"]) for record in records] == [
        (True, 4, 1),
        (True, 4, 0),
    ]
    assert [*Path().iterdir()] == []
    assert (Path.cwd(), sys.argv, "CLUSTERBENCH_OUT" in os.environ) == (tmp_path / "elsewhere", argv, False)


def test_resume_repeats_nothing_that_is_complete_even_if_the_command_forced_it(interrupted: Bench) -> None:
    remember([*words_of(interrupted), "--force"], interrupted.out)
    first = interrupted("resume")
    assert first.code == 0
    assert "bench: --force is left out" in first.err
    finished = [record.finished for record in find_records(interrupted.out)]
    remember([*words_of(interrupted), "--force"], interrupted.out)
    assert interrupted("resume").code == 0
    assert [record.finished for record in find_records(interrupted.out)] == finished


def test_resume_finds_the_folder_that_a_variable_named_then(interrupted: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted.out.rename("by-variable")
    remember(words_of(interrupted), Path("by-variable"))
    assert interrupted("resume", "--out", "by-variable").code == 0
    assert len(find_records(Path("by-variable"))) == 2
    assert not interrupted.out.exists()


def test_resume_ends_with_the_exit_code_of_the_command(bench: Bench) -> None:
    remember(["run", "--method", "kmaens", "--dataset", "digits"], bench.out)
    ran = bench("resume")
    assert ran.code == 1
    assert "bench: Unknown method 'kmaens'" in ran.err
    remember(["run", "--mehtod", "kmeans"], bench.out)
    assert bench("resume").code == 2


def test_resume_refuses_what_would_not_do_the_same(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(["run", "--mlflow", "http://me:secret@host:5000"], bench.out)
    assert "secret" not in (bench.out / FILE).read_text()
    assert "named a password, which is not kept. Give the command yourself: bench run --mlflow" in bench("resume").err

    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    remember(["run", "x"], bench.out)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gone").rmdir()
    assert "which is no longer there" in bench("resume").err

    remember(["run", "x"], bench.out)
    bench.out.rename("moved")
    ran = bench("resume", "--out", "moved")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert f"moved was {bench.out} when the last command ran" in ran.err


def test_without_a_remembered_command_each_unfinished_trial_is_listed_with_the_line_that_ends_it(interrupted: Bench) -> None:
    ran = interrupted("resume")
    assert ran.code == 1
    assert ran.err == (
        "bench: bench-results remembers no command. These trials were left unfinished; each line goes on with one:\n"
    )
    (line,) = ran.out.splitlines()
    onward = interrupted(*shlex.split(line)[1:], "--mlflow", "off")
    assert onward.code == 0
    (record,) = find_records(interrupted.out)
    assert (record.is_complete, record.cost["resumed"]) == (True, 1)
    assert interrupted("resume").code == 1


def test_the_line_that_ends_a_trial_names_all_that_is_not_in_its_settings(bench: Bench) -> None:
    from clusterbench.bench.cli.plan import Asked, plan
    from clusterbench.results.record import RecordWriter

    (trial,) = plan(Asked(["iic"], ["digits"], (3,), preset="smoke", settings=["lr=0.01"], clusters=12, time_limit_s=90.5))
    writer = RecordWriter(bench.out / trial.spec.folder_name())
    spec = trial.spec.model_dump(mode="json")
    writer.start(id=trial.spec.identity(), spec=spec, config={**spec, "config": spec["config"]})
    (line,) = bench("resume").out.splitlines()
    words = shlex.split(line)
    assert words[2:-4] == [
        *("--method", "iic", "--dataset", "digits", "--seeds", "3,", "--preset", "smoke", "--time-limit", "90.5s")
    ]
    config = Path(words[words.index("--config") + 1])
    (again,) = plan(Asked(["iic"], ["digits"], (3,), preset="smoke", config_file=config, time_limit_s=90.5))
    assert again.spec.identity() == trial.spec.identity()


def test_the_list_tells_commands_and_unfinished_trials_and_runs_nothing(interrupted: Bench) -> None:
    for words in (["run", "a"], ["suite", "run", "my suite.yaml"]):
        remember(words, interrupted.out)
    ran = interrupted("resume", "--list")
    rows = [line.split("\t") for line in ran.out.splitlines()]
    assert ran.code == 0
    assert [row[1] for row in rows[:2]] == ["bench suite run 'my suite.yaml'", "bench run a"]
    assert {row[2] for row in rows[:2]} == {str(Path.cwd())}
    assert rows[2][2] == "drift on digits, seed 0: interrupted after epoch 2"
    assert not find_records(interrupted.out)[0].is_complete


def test_a_folder_with_nothing_to_resume_says_so(bench: Bench) -> None:
    ran = bench("resume")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "bench: bench-results remembers no command and holds no trial that was left unfinished. Name another folder with --out.\n"
    )
    listed = bench("resume", "--list")
    assert (listed.code, listed.out) == (0, "")
