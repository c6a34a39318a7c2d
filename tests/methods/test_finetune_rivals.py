"""Classifiers on the trunks of other methods: which part of the base they stand on, the store, resumption, real digits."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from state_tools import same
from torch.nn import functional

from clusterbench.bench.config import resolve
from clusterbench.bench.trained import save_trained
from clusterbench.datasets.base import Images, Labelled
from clusterbench.methods.adc import ADC
from clusterbench.methods.base import Epoch, Method, MethodError
from clusterbench.methods.deepcluster import DeepCluster
from clusterbench.methods.finetune import Finetune
from clusterbench.methods.kit.artefacts import VARIABLE, Artefacts
from clusterbench.methods.kit.feature_method import FeatureMethod
from clusterbench.methods.kit.finetune_network import Classifier
from clusterbench.methods.kit.pretext_base import Contrastive
from clusterbench.methods.random_network import RandomNetwork
from clusterbench.methods.registry import methods
from clusterbench.methods.scan import SCAN
from clusterbench.methods.swwae import SWWAE

NAMES = [name for name in methods.names() if name.endswith("-finetune")]
RIVALS = [name for name in NAMES if name != "iic-finetune"]
every_one = pytest.mark.parametrize("name", NAMES)
every_rival = pytest.mark.parametrize("name", RIVALS)
FROZEN: dict[str, Any] = {"frozen_trunk": True, "hidden": 0}
CLUSTERING: dict[str, Any] = {  # SCAN after its first stage
    "neighbours": 5, "epochs": 1, "semantic": {"augmentation": "simclr"}, "self_label": {"epochs": 0},
}  # fmt: skip


@cache
def digits(count: int = 150) -> tuple[Images, torch.Tensor]:
    data = load_digits()
    return Images.of((data.images[:count] * 255 / 16).round().astype(np.uint8)), torch.from_numpy(data.target[:count])


def smoke(name: str, seed: int = 0, **settings: Any) -> Finetune:
    """The method at its `smoke` preset, with two epochs of its classifier."""
    return methods.get(name)(10, seed=seed, **{**resolve(name, "digits", "smoke").config, "epochs": 2, **settings})


def train(method: Finetune, labels: torch.Tensor | None = None) -> list[Epoch]:
    images, known = digits()
    return list(method.train_labelled(images, Labelled(images, known if labels is None else labels)))


def through_disk(state: Any) -> Any:
    stored = io.BytesIO()
    torch.save(state, stored)
    return torch.load(io.BytesIO(stored.getvalue()), weights_only=True)


def trunk(method: Finetune) -> dict[str, torch.Tensor]:
    network: Classifier = method.network
    return {name: value.clone() for name, value in network.trunk.state_dict().items()}


def features_by_the_base(base: Method, images: Images) -> torch.Tensor:
    """What the base itself makes of its test view, by its own public way."""
    if isinstance(base, FeatureMethod):
        return base.features_of(images)
    if isinstance(base, RandomNetwork):
        return base.extractor.of(images)
    if isinstance(base, Contrastive):
        return base.pretext.features(images, images.role("all"), "backbone", 50)
    base.network.eval()
    if isinstance(base, DeepCluster):
        return base.network.trunk(base.network.entry(base.views.test(images.pixels)))
    assert isinstance(base, ADC)
    return base.network.trunk(base.views.test(images.pixels))


@every_rival
def test_the_trunk_sees_images_as_the_base_does(name: str) -> None:
    as_the_trunk = {"triplets-finetune": {"clustered": "trunk"}, "dim-finetune": {"clustered": "dense"}}
    given = smoke(name)
    base_settings = {**given.config.base.model_dump(), **as_the_trunk.get(name, {})}
    given.set_params(base=base_settings, **({"view": {"size": 16, "crop": 8}} if name == "scan-finetune" else {}))
    images = Images(digits()[0].pixels[:20])
    given._build(images.shape)
    base = given.base
    assert base is not None
    with torch.no_grad():
        expected = features_by_the_base(base, images)
        given._build_classifier(base)
        found = given.network.eval().trunk(given.views.test(images.pixels))
    if name == "scan-finetune":  # which looks at directions only
        found = functional.normalize(found, dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@every_rival
def test_the_bases_epochs_come_first_and_no_label_reaches_them(name: str) -> None:
    images, labels = digits()
    states = []
    for given in (labels, labels.flip(0)):
        method = smoke(name)
        training = method.train_labelled(images, Labelled(images, given))
        for _ in range(method.base_epochs):
            epoch = next(training)
            assert epoch.criterion is None and all(key.startswith("base ") for key in epoch.losses)
        states.append(through_disk(method.state_dict().get("base", {})) if method.base_epochs else {})
        assert [sorted(epoch.losses) for epoch in training] == [["classifier"]] * 2
        assert method.planned_epochs == method.base_epochs + 2
        states.append(through_disk(method.state_dict()["model"]))
    assert same(states[0], states[2])
    assert not same(states[1], states[3]), "the classifier learns from labels"


@every_rival
def test_it_goes_on_after_any_epoch_as_if_nothing_had_happened(name: str) -> None:
    images, labels = digits()
    whole = smoke(name)
    epochs = train(whole)
    for cut in {1, len(epochs) - 1}:
        broken, onward = smoke(name), smoke(name)
        training = broken.train_labelled(images, Labelled(images, labels))
        before = [next(training) for _ in range(cut)]
        onward.load_state_dict(through_disk(broken.state_dict()))
        assert before + train(onward) == epochs
        assert same(onward.state_dict()["model"], whole.state_dict()["model"])


@every_rival
def test_a_probe_leaves_the_trunk_as_the_base_has_made_it(name: str) -> None:
    method, (images, labels) = smoke(name, **FROZEN), digits()
    training = method.train_labelled(images, Labelled(images, labels))
    for _ in range(method.base_epochs + 1):
        next(training)
    after_one = trunk(method)
    list(training)
    assert same(trunk(method), after_one)


@every_one
def test_a_base_is_trained_once_for_all_shares_of_the_labels(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    first, again, few = (smoke(name, reuse=True, label_fraction=share, **FROZEN) for share in (1.0, 1.0, 0.3))
    alone, (before, after, with_few) = train(smoke(name, **FROZEN)), map(train, (first, again, few))
    assert before == alone and len(before) == first.base_epochs + 2
    count = 1 if first.base_epochs else 0
    assert [epoch.losses for epoch in after] == [epoch.losses for epoch in before[first.base_epochs :]]
    assert [epoch.number for epoch in with_few] == [1, 2] and with_few[-1].images < before[-1].images
    assert len(first.artefacts_made) == count and first.artefacts_used == []
    assert again.artefacts_used == few.artefacts_used == first.artefacts_made and again.artefacts_made == []
    assert again.planned_epochs == 2
    assert same(trunk(again), trunk(first)) and same(trunk(few), trunk(first))
    assert np.array_equal(again.predict_proba(digits()[0]), first.predict_proba(digits()[0]))


def test_another_seed_trains_a_base_of_its_own_unless_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    own = [smoke("triplets-finetune", seed, reuse=True, **FROZEN) for seed in (0, 1)]
    shared = [smoke("triplets-finetune", seed, reuse=True, base_seed=1, **FROZEN) for seed in (0, 2)]
    longer = smoke("triplets-finetune", reuse=True, base={**own[0].config.base.model_dump(), "epochs": 2}, **FROZEN)
    for method in (*own, *shared, longer):
        train(method)
    assert all(method.artefacts_made for method in (*own, longer)) and not any(method.artefacts_made for method in shared)
    assert not same(trunk(own[0]), trunk(own[1]))
    assert same(trunk(own[1]), trunk(shared[0])) and same(trunk(own[1]), trunk(shared[1]))
    assert len(Artefacts(tmp_path).entries()) == 3


def test_scan_and_the_classifier_on_its_pretext_share_one_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    classifier = smoke("scan-finetune", reuse=True, **FROZEN)
    base = classifier.config.base.model_dump()
    scan = SCAN(10, **CLUSTERING, **base)
    list(scan.train(digits()[0]))
    assert len(train(classifier)) == 2
    assert [name for name in scan.artefacts_made if name.startswith("pretext/")] == classifier.artefacts_used


def test_a_broken_off_base_goes_on_or_takes_what_another_trial_has_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    images, labels = digits()
    name, settings = "exemplar-finetune", {"reuse": True, **FROZEN}
    broken = smoke(name, **settings)
    training = broken.train_labelled(images, Labelled(images, labels))
    next(training)
    state = through_disk(broken.state_dict())
    training.close()
    other = smoke(name, **settings)
    epochs = train(other)
    onward = smoke(name, **settings)
    onward.load_state_dict(state)
    rest = train(onward)
    assert [epoch.number for epoch in rest] == [2, 3] and onward.planned_epochs == 3
    assert [epoch.losses for epoch in rest] == [epoch.losses for epoch in epochs[2:]]
    assert same(onward.state_dict()["model"], other.state_dict()["model"])


@pytest.mark.parametrize(
    ("name", "base"), [("swwae-finetune", "swwae"), ("deepcluster-finetune", "deepcluster"), ("dim-finetune", "dim")]
)
def test_a_finished_record_of_any_base_is_started_from(name: str, base: str, tmp_path: Path) -> None:
    import yaml

    given = smoke(name)
    alone = methods.get(base)(10, seed=7, **given.config.base.model_dump())
    list(alone.train(digits()[0]))
    save_trained(alone, tmp_path)
    about = {"method": base, "dataset": "digits", "protocol": "full", "seed": 7, "n_clusters": 10}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**about, "config": alone.config.model_dump(mode="json")}))
    method = smoke(name, start=str(tmp_path), **FROZEN)
    assert method.planned_epochs == 2 and len(train(method)) == 2
    weights = {key: value for key, value in alone.network.state_dict().items() if method.WEIGHTS in key}
    kept = list(trunk(method).values())
    assert weights and all(
        any(value.shape == each.shape and torch.equal(value, each) for each in kept) for value in weights.values()
    )


def test_only_the_first_stages_settings_of_a_scan_record_are_taken(tmp_path: Path) -> None:
    import yaml

    scan = SCAN(10, reuse=False, **CLUSTERING, **smoke("scan-finetune").config.base.model_dump())
    list(scan.train(digits()[0]))
    save_trained(scan, tmp_path)
    about = {"method": "scan", "dataset": "digits", "protocol": "full", "seed": 0, "n_clusters": 10}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**about, "config": scan.config.model_dump(mode="json")}))
    method = smoke("scan-finetune", start=str(tmp_path), **FROZEN)
    train(method)
    found = {key.partition("1.")[2]: value for key, value in trunk(method).items()}
    assert same(found, dict(scan.network.trunk.state_dict()))


def test_ten_seeds_go_through_the_ten_folds() -> None:
    images, labels = digits()
    folds = {f"fold {number}": torch.arange(15 * number, 15 * number + 15) for number in range(10)}
    labelled = Labelled(Images(images.pixels, folds), labels)
    chosen = [smoke("random-finetune", seed, fold="by-seed").chosen_labels(labelled) for seed in range(10)]
    assert [sorted(rows.tolist()) for rows in chosen] == [list(range(15 * seed, 15 * seed + 15)) for seed in range(10)]
    with pytest.raises(MethodError, match="setting 'fold': write 0 to 9, or by-seed"):
        smoke("random-finetune", fold="by_seed")


def test_a_linear_probe_is_as_good_as_a_logistic_regression_on_the_same_features() -> None:
    data = load_digits()
    images, labels = digits(1797)
    learned, judged = Images(images.pixels[:1000]), Images(images.pixels[1000:])
    still = {"affine_probability": 0, "brightness": 0, "contrast": 0, "cutout_probability": 0, "flip_probability": 0}
    base = {"network": {"widths": [8, 16], "views": {"size": 8, "crop": 8}}}
    settings = {"base": base, "test_crops": 1, "augmentation": still, "epochs": 4, "steps_per_epoch": 150, "head_lr": 0.02}
    probe = smoke("random-finetune", **FROZEN, **settings)
    list(probe.train_labelled(learned, Labelled(learned, labels[:1000])))
    with torch.no_grad():
        features = probe.network.eval().trunk(probe.views.test(images.pixels)).numpy()
    scaled = StandardScaler().fit(features[:1000]).transform(features)
    reference = LogisticRegression(max_iter=500).fit(scaled[:1000], data.target[:1000]).score(scaled[1000:], data.target[1000:])
    found = (probe.predict(judged) == data.target[1000:]).mean()
    assert reference > 0.85 and abs(found - reference) < 0.03


@every_rival
def test_each_base_with_a_classifier_learns_real_digits(name: str) -> None:
    data = load_digits()
    images, labels = digits(1797)
    learned, judged = Images(images.pixels[:1000]), Images(images.pixels[1000:])
    method = smoke(name, epochs=4)
    list(method.train_labelled(learned, Labelled(learned, labels[:1000])))
    assert (method.predict(judged) == data.target[1000:]).mean() > 0.65  # chance gives 0.1


@every_one
def test_every_preset_is_a_configuration_that_the_method_takes(name: str) -> None:
    card = methods.card(name)
    assert {"paper", "short", "smoke"} <= card["presets"].keys() and card["task"] == "semi-supervised"
    for preset, content in card["presets"].items():
        assert content["changes"]
        for dataset in content["datasets"]:
            resolved = resolve(name, dataset, preset)
            assert methods.get(name)(10, **resolved.config).config.model_dump(mode="json") == resolved.config


@every_rival
def test_the_published_settings_build_the_published_trunk(name: str) -> None:
    from clusterbench.methods.kit.networks import ResNetTrunk

    method = methods.get(name)(10, **resolve(name, "stl10", "paper").config)
    base = method.build_base((3, 96, 96))
    whole = method.trunk_of(base)
    assert isinstance(whole, ResNetTrunk) == (name in ("triplets-finetune", "deepcluster-finetune", "random-finetune"))
    assert method.view.size == 64 and method.config.test_crops == 10
    if isinstance(base, SWWAE):
        assert [layer.out_channels for layer in whole.modules() if isinstance(layer, torch.nn.Conv2d)] == [
            64, 64, 128, 128, 256, 256, 256, 512, 512, 512,
        ]  # fmt: skip
