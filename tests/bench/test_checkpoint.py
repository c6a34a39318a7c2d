from __future__ import annotations

import errno
import io
import logging
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clusterbench.bench import checkpoint
from clusterbench.bench.checkpoint import Checkpoint, Checkpoints, save_weights
from clusterbench.methods.base import MethodError
from clusterbench.results.record import RecordError


def of_epoch(epoch: int, trial: str = "abc", **method: Any) -> Checkpoint:
    weights = torch.arange(1000.0) + epoch
    state = {"weights": weights, "adam": {0: {"step": torch.tensor(3.0)}}, "history": [1, 2.5, "x", None, True], **method}
    return Checkpoint(trial, epoch, state, {"last": {"predictions": torch.ones(2, 3, dtype=torch.int8)}}, {}, {"images": 7})


def saved(folder: Path, *epochs: int) -> Checkpoints:
    store = Checkpoints(folder, "abc")
    for epoch in epochs:
        store.save(of_epoch(epoch))
    return store


def files(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoint").iterdir())


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    loaded = saved(tmp_path, 4).load()
    assert loaded is not None and (loaded.trial, loaded.epoch, loaded.cost) == ("abc", 4, {"images": 7})
    assert torch.equal(loaded.method["weights"], torch.arange(1000.0) + 4)
    assert loaded.method["history"] == [1, 2.5, "x", None, True] and loaded.method["adam"][0]["step"] == 3.0
    assert loaded.tracker["last"]["predictions"].dtype == torch.int8


def test_the_newest_is_loaded_and_two_are_kept(tmp_path: Path) -> None:
    store = saved(tmp_path, 9, 10, 11, 100)
    assert [path.name[:12] for path in files(tmp_path)] == ["epoch-000011", "epoch-000100"]
    loaded = store.load()
    assert loaded is not None and loaded.epoch == 100


def test_without_checkpoints_there_is_nothing_to_load(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path, "abc").load() is None


@pytest.mark.parametrize("damage", ["truncated", "emptied", "one bit flipped", "replaced by text"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    store = saved(tmp_path, 1, 2)
    newest = files(tmp_path)[-1]
    content = bytearray(newest.read_bytes())
    if damage == "one bit flipped":
        weight = (torch.arange(1000.0) + 2)[500:].numpy().tobytes()
        content[content.find(weight)] ^= 1  # torch reads it without a word
    damaged = {"truncated": content[: len(content) // 2], "emptied": b"", "replaced by text": b"hello"}.get(damage, content)
    newest.write_bytes(damaged)
    with caplog.at_level(logging.WARNING):
        loaded = store.load()
    assert loaded is not None and loaded.epoch == 1
    assert len(caplog.messages) == 1 and newest.name in caplog.messages[0]


def test_when_all_are_damaged_there_is_nothing_to_load(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = saved(tmp_path, 1, 2)
    for path in files(tmp_path):
        path.write_bytes(path.read_bytes()[:-1])
    assert store.load() is None and len(caplog.messages) == 2


def test_the_checkpoint_of_another_trial_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saved(tmp_path, 1)
    assert Checkpoints(tmp_path, "xyz").load() is None
    assert "another trial" in caplog.text


def test_what_a_killed_process_left_half_written_is_passed_over(tmp_path: Path) -> None:
    store = saved(tmp_path, 1)
    (tmp_path / "checkpoint" / ".new").write_bytes(b"half")
    loaded = store.load()
    assert loaded is not None and loaded.epoch == 1


@pytest.mark.parametrize("value", [np.zeros(3), np.float64(1.0), {1, 2}, object()], ids=["array", "numpy float", "set", "object"])
def test_a_state_that_could_not_be_read_back_is_refused_when_it_is_saved(tmp_path: Path, value: object) -> None:
    store = saved(tmp_path, 1)
    with pytest.raises(MethodError, match=r"state_dict\(\)\['deep'\]\[1\]"):
        store.save(of_epoch(2, deep=[0, value]))
    loaded = store.load()
    assert loaded is not None and loaded.epoch == 1


def test_what_networks_and_optimisers_give_is_taken(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimiser = torch.optim.Adam(network.parameters(), lr=0.1)
    network(torch.randn(4, 3)).sum().backward()
    optimiser.step()
    store = Checkpoints(tmp_path, "abc")
    store.save(of_epoch(1, model=network.state_dict(), optimiser=optimiser.state_dict()))
    loaded = store.load()
    assert loaded is not None and isinstance(network.state_dict(), OrderedDict)
    again = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    again.load_state_dict(loaded.method["model"])
    torch.optim.Adam(again.parameters()).load_state_dict(loaded.method["optimiser"])
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


class FullDisk(io.FileIO):
    """Takes a thousand bytes."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > 1000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data) or 0


def test_a_full_disk_is_said_and_the_checkpoint_before_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = saved(tmp_path, 1)
    monkeypatch.setattr(Path, "open", lambda path, mode: FullDisk(path, mode))  # noqa: PLW0108 - a class would not be bound
    with pytest.raises(RecordError, match="No space left on device.*Free some space"):
        store.save(of_epoch(2))
    monkeypatch.undo()
    loaded = store.load()
    assert loaded is not None and loaded.epoch == 1
    assert len(files(tmp_path)) == 1


def test_saving_waits_until_it_costs_at_most_a_fiftieth_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: seconds[0])
    store = Checkpoints(tmp_path, "abc")
    assert store.due(), "what a save costs is not known before the first"
    write = checkpoint._write

    def slow(*arguments: Any) -> str:
        seconds[0] += 2.0
        return write(*arguments)

    monkeypatch.setattr(checkpoint, "_write", slow)
    store.save(of_epoch(1))
    seconds[0] += 99.0
    assert not store.due()
    seconds[0] += 1.0
    assert store.due()


def test_removing_leaves_nothing(tmp_path: Path) -> None:
    store = saved(tmp_path, 1, 2)
    store.remove()
    store.remove()
    assert not list(tmp_path.iterdir())


def test_weights_are_written_by_dotted_name_and_tied_ones_twice(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    tied = torch.randn(3, 4)
    model = {"trunk": OrderedDict({"0.weight": tied.t()}), "head": {"weight": tied, "steps": 3}}
    save_weights(model, tmp_path / "model.safetensors")
    loaded = load_file(tmp_path / "model.safetensors")
    assert loaded.keys() == {"trunk.0.weight", "head.weight"}
    assert torch.equal(loaded["head.weight"], tied) and torch.equal(loaded["trunk.0.weight"], tied.t())
