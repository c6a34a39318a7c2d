"""SCAN as a whole: its stages and what passes between them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import load_digits
from sklearn.metrics.cluster import contingency_matrix

from clusterbench.bench.config import resolve
from clusterbench.bench.spec import make_spec
from clusterbench.bench.trial import run_trial
from clusterbench.datasets.base import Images
from clusterbench.datasets.splits import Dataset, Split
from clusterbench.methods.base import Epoch, MethodError
from clusterbench.methods.kit.artefacts import VARIABLE
from clusterbench.methods.scan import SCAN

TINY: dict[str, Any] = {
    "network": {"name": "small", "widths": [4, 8]},
    "pretext": {"epochs": 2, "batch": 20, "lr": 0.1, "dimensions": 8},
    "neighbours": 3,
    "epochs": 2,
    "sub_heads": 2,
    "semantic": {"batch": 20},
    "self_label": {"epochs": 2, "batch": 20, "threshold": 0.3},
}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of artefacts for each test."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "store"))
    return tmp_path / "store"


def images(count: int = 40, seed: int = 0) -> Images:
    return Images(torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)))


def tiny(seed: int = 0, **settings: Any) -> SCAN:
    return SCAN(3, seed=seed, **{**TINY, **settings})


def trained(method: SCAN, given: Images | None = None) -> list[Epoch]:
    return list(method.train(given or images()))


def told(epochs: list[Epoch]) -> list[tuple[Any, ...]]:
    """What epochs say, their numbers and the images of mining apart."""
    return [(epoch.losses, epoch.criterion) for epoch in epochs]


def same(a: SCAN, b: SCAN) -> bool:
    states = a.network.state_dict(), b.network.state_dict()
    return states[0].keys() == states[1].keys() and all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def acc(predicted: np.ndarray, truth: np.ndarray) -> float:
    counts = contingency_matrix(truth, predicted)
    return counts[linear_sum_assignment(counts, maximize=True)].sum() / len(truth)


def test_three_stages_follow_each_other_with_losses_of_their_own() -> None:
    method = tiny()
    assert method.planned_epochs == 6
    epochs = trained(method)
    assert [list(epoch.losses) for epoch in epochs] == (
        [["contrastive"]] * 2 + [["main", "consistency", "entropy"]] * 2 + [["self-label", "confident"]] * 2
    )
    assert [epoch.criterion is None for epoch in epochs] == [True, True, False, False, False, False]
    assert [len(np.atleast_1d(epochs[2].losses[name])) for name in ("main", "consistency", "entropy")] == [2, 2, 2]
    assert epochs[2].losses["main"] == pytest.approx(
        [c - 5 * e for c, e in zip(epochs[2].losses["consistency"], epochs[2].losses["entropy"], strict=True)], rel=1e-4
    )
    assert [epoch.images for epoch in epochs] == [80, 80, 80 + 40 + 80, 80 + 40, 80 + 40, 80 + 40]


def test_while_the_features_are_learned_the_heads_are_the_untrained_ones() -> None:
    method, begun = tiny(), tiny()
    begun.build((1, 8, 8))
    training = method.train(images())
    next(training), next(training)
    assert torch.equal(method.network.heads.linear.weight, begun.network.heads.linear.weight)
    assert not torch.equal(method.network.trunk[0].weight, begun.network.trunk[0].weight), "the heads see the trained features"


def test_a_second_seed_takes_features_and_neighbours_of_the_first_and_ends_as_if_it_had_made_them() -> None:
    first, second, alone = tiny(0), tiny(1), tiny(1, reuse=False)
    trained(first)
    assert len(first.artefacts_made) == 3 and not first.artefacts_used
    short, long = trained(second), trained(alone)
    assert sorted(name.partition("/")[0] for name in second.artefacts_used) == ["neighbours", "pretext"]
    assert [epoch.number for epoch in short] == [1, 2, 3, 4] and second.planned_epochs == 4
    assert told(short) == told(long[2:]) and same(second, alone)
    assert not alone.artefacts_used and not alone.artefacts_made


def test_the_trial_of_a_second_seed_ends_where_it_has_nothing_left_to_do_and_says_what_it_reused(tmp_path: Path) -> None:
    labels = np.arange(40) % 3
    data = Dataset("noise", {"train": Split(images().pixels.numpy(), labels)}, ("a", "b", "c")).under("full")
    changes = ("pretext.batch=20", "reuse=true", "pretext.epochs=2", "epochs=2", "sub_heads=2", "self_label.epochs=1")
    records = [
        run_trial(make_spec(resolve("scan", "noise", "smoke", set_=changes), data, seed=seed), data, out=tmp_path, device="cpu")
        for seed in (0, 1)
    ]
    assert [record.status for record in records] == ["complete", "complete"]
    assert [record.epochs_done for record in records] == [5, 3]
    assert [len(row["acc"]) for row in records[1].epochs()] == [2, 2, 1], "two heads, then the better one"
    assert records[0].metrics["last"]["head"] == 0


def test_a_training_cut_in_the_pretext_goes_on_even_if_somebody_else_has_finished_it_meanwhile() -> None:
    whole, broken, onward = tiny(1), tiny(1), tiny(1)
    training = broken.train(images())
    begun = [next(training)]
    state = copy.deepcopy(broken.state_dict())
    training.close()  # gives the claim back
    expected = trained(whole)
    onward.load_state_dict(state)
    rest = trained(onward)
    assert [epoch.number for epoch in begun + rest] == [1, 2, 3, 4, 5] and onward.planned_epochs == 5
    assert told(rest) == told(expected[2:]) and same(whole, onward)


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5, 6])
def test_a_training_cut_after_any_epoch_ends_as_an_undisturbed_one(cut: int) -> None:
    settings = {"reuse": False, "self_label": {**TINY["self_label"], "averaging": 0.5}}
    whole, broken, onward = (tiny(**settings) for _ in range(3))
    expected, training = trained(whole), broken.train(images())
    begun = [next(training) for _ in range(cut)]
    onward.load_state_dict(copy.deepcopy(broken.state_dict()))
    assert begun + trained(onward) == expected and same(whole, onward)


def test_the_third_stage_begins_with_the_best_network_and_the_best_head_of_the_second() -> None:
    without = tiny(epochs=4, reuse=False, self_label={"epochs": 0}, semantic={"batch": 20, "optimiser": {"lr": 0.05}})
    kept: list[tuple[float, int, torch.Tensor]] = []
    views = images()
    for epoch in without.train(views):
        if epoch.criterion is not None:
            chosen = without.chosen_head
            assert epoch.criterion == without.head_losses[chosen].item() == without.head_losses.min().item()
            kept.append((epoch.criterion, chosen, without.rest.probabilities(without.network, views, views.role("all"))[chosen]))
    best = min(range(4), key=lambda number: kept[number][0])
    assert best != 3, "a test in which the last epoch were the best would show nothing"
    method = tiny(epochs=4, reuse=False, semantic={"batch": 20, "optimiser": {"lr": 0.05}},
                  self_label={"epochs": 1, "batch": 20, "threshold": 0.9999999})  # fmt: skip
    training = method.train(views)
    for _ in range(6):
        next(training)
    method._go_on_with_the_best()
    found = method.rest.probabilities(method.network, views, views.role("all"))
    assert len(found) == 1 and torch.allclose(found[0], kept[best][2], atol=1e-6)


def test_images_that_are_judged_choose_only_where_the_authors_protocol_is_asked_for() -> None:
    other = images(25, seed=1)
    plain, published, alone = tiny(), tiny(selection_images="scored"), tiny(selection_images="scored")
    assert published.wants_scored and not plain.wants_scored
    plain.scored = published.scored = other
    by_training, by_scored, without = trained(plain), trained(published), trained(alone)
    assert len(plain.selection) == 40 and len(published.selection) == 25
    assert by_scored[-4].losses == by_training[2].losses and by_scored[-4].criterion != by_training[2].criterion
    assert told(without) == told(by_training[2:]), "a notebook has no images that are judged"


def test_a_trial_hands_over_the_judged_images_without_their_labels(tmp_path: Path) -> None:
    splits = {
        "train": Split(images().pixels.numpy(), np.arange(40) % 3),
        "test": Split(images(25, 1).pixels.numpy(), np.arange(25) % 3),
    }
    data = Dataset("noise", splits, ("a", "b", "c")).under("split")
    seen = []
    for wanted in ("scored", "train"):
        changes = ("pretext.epochs=1", "epochs=1", "self_label.epochs=0", f"selection_images={wanted}")
        spec = make_spec(resolve("scan", "noise", "smoke", set_=changes), data)
        seen.append(run_trial(spec, data, out=tmp_path, device="cpu").epochs()[-1]["images"])
    assert seen[0] - seen[1] == 2 * (25 - 40), "mined and judged once: 25 images in place of 40"


def test_at_most_so_many_images_choose_and_the_seed_draws_them() -> None:
    method, again = tiny(selection_sample=15), tiny(selection_sample=15)
    trained(method), trained(again)
    assert len(method.selection) == 15 and torch.equal(method.selection.indices, again.selection.indices)
    assert method.selection.neighbours.shape == (15, 6) and method.selection.neighbours.max() < 15
    other = tiny(5, selection_sample=15)
    trained(other)
    assert not torch.equal(method.selection.indices, other.selection.indices)


def test_the_pretext_sees_the_auxiliary_images_and_the_clusters_only_the_main_ones() -> None:
    pixels = images(60).pixels
    roles = {"main": torch.arange(0, 60, 3), "auxiliary": torch.arange(60)}
    given = Images(pixels, roles)
    method = tiny(reuse=False, selection_sample=None)
    epochs = trained(method, given)
    assert [epoch.images for epoch in epochs] == [120, 120, 40 + 20 + 40, 40 + 20, 40 + 20, 40 + 20]
    assert method.neighbours.shape == (20, 4) and method.neighbours.max() < 20


def test_frozen_heads_on_somebodys_weights_are_the_authors_form_for_imagenet(tmp_path: Path) -> None:
    source = tiny(reuse=False)
    trained(source)
    torch.save({f"module.{name}": tensor for name, tensor in source.pretext.network.state_dict().items()}, tmp_path / "own.pth")
    settings = {"semantic": {"batch": 20, "frozen": True, "augmentation": "simclr"}, "mining_layer": "backbone", "sub_heads": 4}
    method = tiny(start="weights", weights=tmp_path / "own.pth", self_label={"epochs": 0}, **settings)
    assert method.planned_epochs == 2
    epochs = trained(method)
    assert [epoch.number for epoch in epochs] == [1, 2] and method.predict_heads(images()).shape == (4, 40)
    found, given = method.network.trunk.state_dict(), source.pretext.network.trunk.state_dict()
    assert all(torch.equal(found[name], given[name]) for name in found), "neither weights nor batch norm have moved"


def test_settings_that_do_not_belong_together_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "own.pth").write_bytes(b"weights")
    for settings, message in (
        ({"start": "weights"}, "start=weights brings no projection; set mining_layer=backbone"),
        ({"weights": tmp_path / "own.pth"}, "weights are given but start=simclr would not use them"),
        ({"weights": tmp_path / "nowhere.pth"}, "there is no file of weights at"),
        ({"semantic": {"entropy_wieght": 2}}, "Did you mean 'semantic.entropy_weight'"),
        ({"temperature": 0.5}, "unknown setting 'temperature'"),
    ):
        with pytest.raises(MethodError, match=message):
            tiny(**settings)
    with pytest.raises(MethodError, match="needs a file of weights"):
        trained(tiny(start="weights", mining_layer="backbone"))
    with pytest.raises(MethodError, match="strong.size and views.size must be equal, got 6 and 8"):
        trained(tiny(strong={"size": 6}))
    with pytest.raises(MethodError, match="50 neighbours were asked for among 40 images"):
        trained(tiny(neighbours=50))


def test_it_clusters_digits_far_better_than_chance_and_finds_more_clusters_than_classes() -> None:
    digits = load_digits()
    rows = np.random.default_rng(0).permutation(1797)[:600]
    pixels = torch.from_numpy((digits.images[rows] * 255 / 16).round().astype(np.uint8)).unsqueeze(1)
    settings = resolve("scan", "digits", "short", set_=("pretext.epochs=15", "epochs=12", "self_label.epochs=3", "reuse=false"))
    method = SCAN(10, **settings.config)
    assert acc(method.fit(Images(pixels)).labels_, digits.target[rows]) > 0.45
    finer = SCAN(20, **settings.config).fit(Images(pixels))
    assert len(np.unique(finer.labels_)) > 12 and finer.predict_proba(pixels).shape == (600, 20)
