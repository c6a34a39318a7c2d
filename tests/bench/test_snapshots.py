"""Snapshots: what is kept, that it is the same however a trial went, and that taking it disturbs nothing."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from trial_fakes import Drift, tiny_data

from clusterbench.bench import snapshots
from clusterbench.bench.snapshots import Snapshots, sample_rows
from clusterbench.datasets.base import Images
from clusterbench.methods.iic import IIC
from clusterbench.results.figures.probabilities import FILE, Probabilities

SETTINGS: dict[str, Any] = {"epochs": 4, "widths": [4], "sub_heads": 2, "batch_pairs": 30, "repeats": 2,
                            "views": {"size": 4, "crop": 4, "crops_transformed": [4]}}  # fmt: skip


class Sure(Drift):
    """Gives probabilities, after drawing from every global generator."""

    def predict_proba(self, images: Images) -> np.ndarray:
        random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
        brightness = images.pixels.float().mean((1, 2, 3)).numpy() / 255
        return np.stack([brightness, 1 - brightness, 0 * brightness], axis=1)


@pytest.fixture
def method() -> Sure:
    made = Sure(3, seed=0)
    made.epoch = 1
    return made


def kept(folder: Path) -> Probabilities:
    found = Probabilities.read(folder)
    assert found is not None
    return found


def trained(folder: Path, every: int | None, until: int = 4, start: int = 0) -> Snapshots:
    """IIC on tiny images, with snapshots, from an epoch on."""
    images, method = tiny_data().score, IIC(3, seed=5, **SETTINGS)
    taking = Snapshots(folder, every)
    taking.truncate(start)
    taking.take(method, images, start)
    for epoch in method.train(images):
        if epoch.number > start:
            taking.take(method, images, epoch.number)
        if epoch.number == until:
            break
    if until == 4:
        taking.take(method, images, 4, last=True)
    return taking


def test_small_sets_are_kept_whole_and_large_ones_evenly() -> None:
    assert_array_equal(sample_rows(60), np.arange(60))
    rows = sample_rows(70_000)
    assert (len(rows), rows[0], rows[-1]) == (2_000, 0, 69_999)
    assert set(np.diff(rows)) <= {35, 36}


def test_without_asking_the_last_epoch_is_kept(tmp_path: Path) -> None:
    trained(tmp_path, None)
    found = kept(tmp_path)
    assert found.epochs.tolist() == [4]
    assert found.values.shape == (1, 60, 3)
    assert found.values.dtype == np.float16
    assert_allclose(found.values.astype(float).sum(axis=2), 1, atol=2e-3)


@pytest.mark.parametrize(("every", "epochs"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (3, [0, 3, 4])])
def test_every_nth_epoch_the_untrained_network_and_the_last_are_kept(tmp_path: Path, every: int, epochs: list[int]) -> None:
    trained(tmp_path, every)
    assert kept(tmp_path).epochs.tolist() == epochs


def test_before_training_the_network_has_its_first_weights(tmp_path: Path) -> None:
    images, method = tiny_data().score, IIC(3, seed=5, **SETTINGS)
    Snapshots(tmp_path, 1).take(method, images, 0)
    assert not hasattr(method, "network")  # the method itself was left as it was
    method.build(images.shape)
    assert_allclose(kept(tmp_path).values[0], method.predict_proba(images), atol=1e-3)


def test_the_probabilities_are_those_of_the_chosen_sub_head_at_its_epoch(tmp_path: Path) -> None:
    images, method = tiny_data().score, IIC(3, seed=5, **SETTINGS)
    taking = Snapshots(tmp_path, 1)
    for epoch in method.train(images):
        taking.take(method, images, epoch.number)
        assert_allclose(kept(tmp_path).values[-1], method.predict_proba(images), atol=1e-3)
        assert kept(tmp_path).heads[-1] == method.chosen_head


def test_a_trial_that_is_taken_up_again_leaves_the_same_bytes(tmp_path: Path) -> None:
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    trained(tmp_path / "whole", 1)
    trained(tmp_path / "cut", 1, until=3)  # killed after epoch 3; its last checkpoint was of epoch 1
    trained(tmp_path / "cut", 1, start=1)
    assert (tmp_path / "cut" / FILE).read_bytes() == (tmp_path / "whole" / FILE).read_bytes()


def test_a_last_epoch_that_is_not_the_last_any_more_is_forgotten(tmp_path: Path, method: Sure) -> None:
    images = tiny_data().score
    taking = Snapshots(tmp_path, 2)
    taking.take(method, images, 2)
    taking.take(method, images, 3, last=True)
    Snapshots(tmp_path, 2).truncate(3)
    assert kept(tmp_path).epochs.tolist() == [2]


def test_a_trial_that_begins_anew_keeps_nothing(tmp_path: Path, method: Sure) -> None:
    Snapshots(tmp_path, 1).take(method, tiny_data().score, 1)
    Snapshots(tmp_path, 1).truncate(0)
    assert not (tmp_path / FILE).exists()


def test_a_damaged_file_is_told_and_replaced(tmp_path: Path, method: Sure, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_bytes(b"no archive")
    taking = Snapshots(tmp_path, 1)
    taking.truncate(5)
    taking.take(method, tiny_data().score, 6)
    assert "is damaged" in caplog.text
    assert kept(tmp_path).epochs.tolist() == [6]


def test_an_epoch_is_kept_once(tmp_path: Path, method: Sure) -> None:
    taking = Snapshots(tmp_path, 1)
    taking.take(method, tiny_data().score, 4)
    taking.take(method, tiny_data().score, 4, last=True)
    assert kept(tmp_path).epochs.tolist() == [4]


def test_the_rows_are_those_of_the_images(tmp_path: Path, method: Sure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SAMPLE", 7)
    images = tiny_data().score
    Snapshots(tmp_path, 1).take(method, images, 1)
    found = kept(tmp_path)
    assert len(found.rows) == 7
    brightness = images.pixels[torch.from_numpy(found.rows)].float().mean((1, 2, 3)).numpy() / 255
    assert_allclose(found.values[0, :, 0], brightness, atol=1e-3)


def test_no_generator_of_random_numbers_is_disturbed(tmp_path: Path, method: Sure) -> None:
    torch.manual_seed(1), np.random.seed(1), random.seed(1)  # noqa: NPY002
    undisturbed = torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()  # noqa: NPY002
    torch.manual_seed(1), np.random.seed(1), random.seed(1)  # noqa: NPY002
    Snapshots(tmp_path, 1).take(method, tiny_data().score, 1)
    assert (torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()) == undisturbed  # noqa: NPY002


def test_training_goes_on_as_if_nobody_had_looked(tmp_path: Path) -> None:
    images = tiny_data().score
    alone, looked_at = IIC(3, seed=5, **SETTINGS), IIC(3, seed=5, **SETTINGS)
    for _ in alone.train(images):
        pass
    taking = Snapshots(tmp_path, 1)
    for epoch in looked_at.train(images):
        taking.take(looked_at, images, epoch.number)
    ours, theirs = alone.state_dict()["model"], looked_at.state_dict()["model"]
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_method_without_probabilities_leaves_no_file(tmp_path: Path) -> None:
    Snapshots(tmp_path, 1).take(Drift(3, seed=0), tiny_data().score, 1, last=True)
    assert list(tmp_path.iterdir()) == []


def test_a_method_that_breaks_costs_the_picture_and_not_the_trial(
    tmp_path: Path, method: Sure, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Sure, "predict_proba", lambda self, images: np.zeros((2, 2)))
    taking = Snapshots(tmp_path, 1)
    with caplog.at_level(logging.WARNING):
        taking.take(method, tiny_data().score, 1)
        taking.take(method, tiny_data().score, 2, last=True)
    assert len(caplog.records) == 1  # it is told once, and not asked again
    assert "no snapshot of epoch 1: predict_proba gave (2, 2), not (60, 3)" in caplog.text
    assert list(tmp_path.iterdir()) == []
