"""Fine-tuning: its two phases, what labels reach, its optimiser, its test, and that it learns real digits."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from clusterbench.bench.config import resolve
from clusterbench.datasets.base import Images, Labelled
from clusterbench.methods.base import Diverged, Epoch, MethodError
from clusterbench.methods.finetune import IICFinetune, IICFinetuneConfig
from clusterbench.methods.iic import IIC
from clusterbench.methods.kit.finetune_network import ThirdStage
from clusterbench.methods.kit.randomness import generator
from clusterbench.methods.registry import methods

BASE: dict[str, Any] = {
    "epochs": 2,
    "widths": (8, 16),
    "sub_heads": 2,
    "batch_pairs": 100,
    "repeats": 4,
    "views": {"size": 12, "crop": 8, "crops_transformed": [7, 8]},
}
TINY: dict[str, Any] = {
    "epochs": 2,
    "batch": 40,
    "hidden": 16,
    "test_crops": 1,
    "base_clusters": 20,
    "reuse": False,
    "augmentation": {"flip_probability": 0, "cutout_probability": 0},
    "base": BASE,
}


@cache
def digits(count: int = 150) -> tuple[Images, torch.Tensor]:
    data = load_digits()
    return Images.of((data.images[:count] * 255 / 16).round().astype(np.uint8)), torch.from_numpy(data.target[:count])


def tiny(seed: int = 0, **settings: Any) -> IICFinetune:
    return IICFinetune(10, seed=seed, **{**TINY, **settings})


def train(method: IICFinetune, labels: torch.Tensor | None = None) -> list[Epoch]:
    images, known = digits()
    return list(method.train_labelled(images, Labelled(images, known if labels is None else labels)))


def weights(method: IICFinetune | IIC) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in method.network.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def through_disk(state: Any) -> Any:
    stored = io.BytesIO()
    torch.save(state, stored)
    return torch.load(io.BytesIO(stored.getvalue()), weights_only=True)


def test_the_bases_epochs_come_first_and_count() -> None:
    method = tiny()
    epochs = train(method)
    assert method.planned_epochs == 4 and [epoch.number for epoch in epochs] == [1, 2, 3, 4]
    assert [sorted(epoch.losses) for epoch in epochs] == [["base main"]] * 2 + [["classifier"]] * 2
    assert [epoch.criterion is None for epoch in epochs] == [True, True, False, False]
    assert [epoch.images for epoch in epochs] == [150 * (1 + 4)] * 2 + [150] * 2
    assert epochs[-1].criterion == epochs[-1].losses["classifier"]


def test_the_bases_loss_is_told_with_its_own_bound() -> None:
    method, (images, labels) = tiny(), digits()
    training = method.train_labelled(images, Labelled(images, labels))
    next(training)
    assert method.loss_floors == {"base main": pytest.approx(-np.log(20))}
    list(training)
    assert method.loss_floors == {}


def test_the_base_is_what_iic_alone_learns() -> None:
    method, alone = tiny(seed=3, trunk_lr=1e-30), IIC(20, seed=3, **BASE)
    images, labels = digits()
    training = method.train_labelled(images, Labelled(images, labels))
    ours = [next(training) for _ in range(2)]
    theirs = list(alone.train(images))
    assert [epoch.losses["base main"] for epoch in ours] == [epoch.losses["main"] for epoch in theirs]
    next(training)
    learned = dict(method.network.trunk.named_parameters())
    assert all(torch.equal(learned[name], value) for name, value in alone.network.trunk.named_parameters())


def test_no_label_reaches_the_base() -> None:
    images, labels = digits()
    states = []
    for given in (labels, labels.flip(0), torch.zeros_like(labels)):
        method = tiny()
        training = method.train_labelled(images, Labelled(images, given))
        assert [next(training), next(training)]
        states.append({name: value.clone() for name, value in method.state_dict()["base"]["model"].items()})
        next(training)
        states.append(weights(method))
    assert same(states[0], states[2]) and same(states[0], states[4])
    assert not same(states[1], states[3]), "the classifier learns from labels"


def test_only_the_chosen_labels_are_learned_from() -> None:
    images, labels = digits()
    parts = Images(images.pixels, {"fold 4": torch.arange(60)})
    learned = []
    for given in (labels, torch.cat([labels[:60], labels[60:].flip(0)])):
        method = tiny(fold=4)
        list(method.train_labelled(images, Labelled(parts, given)))
        learned.append(weights(method))
    assert same(*learned)


def test_the_classes_in_turn_are_predicted_before_a_label_was_seen() -> None:
    method, (images, labels) = tiny(), digits()
    training = method.train_labelled(images, Labelled(images, labels))
    for _ in range(2):
        next(training)
        assert method.predict(images).tolist() == [place % 10 for place in range(150)]
        np.testing.assert_allclose(method.predict_proba(images), 0.1, atol=1e-3)
    next(training)
    assert (method.predict(images) == labels.numpy()).mean() > 0.2  # chance gives 0.1


def test_labels_that_cannot_be_learned_from_are_refused_before_the_base_is_trained() -> None:
    images, labels = digits()
    with pytest.raises(MethodError, match="no fold 0"):
        next(tiny(fold=0).train_labelled(images, Labelled(images, labels)))
    with pytest.raises(MethodError, match="n_clusters=5 allows 0..4"):
        next(IICFinetune(5, **TINY).train_labelled(images, Labelled(images, labels)))
    with pytest.raises(MethodError, match="learns from labels"):
        tiny().train(images)


@pytest.mark.parametrize("frozen", [False, True])
def test_trunk_and_head_have_learning_rates_of_their_own(frozen: bool) -> None:
    method = tiny(frozen_trunk=frozen, trunk_lr=1e-4, head_lr=1e-3, base_training=False, epochs=1)
    train(method)
    groups = [(group["lr"], {id(parameter) for parameter in group["params"]}) for group in method.optimiser.param_groups]
    head, trunk = ({id(each) for each in part.parameters()} for part in (method.network.head, method.network.trunk))
    assert groups == ([(1e-3, head)] if frozen else [(1e-3, head), (1e-4, trunk)])


def test_one_optimiser_with_two_rates_steps_as_the_authors_two() -> None:
    method = tiny(base_training=False, epochs=1, hidden=0, trunk_lr=3e-3, head_lr=1e-2)
    train(method)
    twin = tiny(base_training=False, epochs=1, hidden=0)
    twin.load_state_dict(through_disk(method.state_dict()))
    parts = {1e-2: twin.network.head, 3e-3: twin.network.trunk}
    optimisers = [torch.optim.Adam(part.parameters(), lr=lr) for lr, part in parts.items()]
    for optimiser, group in zip(optimisers, method.optimiser.param_groups, strict=True):
        moments = (method.optimiser.state[parameter] for parameter in group["params"])
        own = optimiser.param_groups[0]["params"]
        optimiser.state.update({mine: {k: v.clone() for k, v in each.items()} for mine, each in zip(own, moments, strict=True)})
    images, labels = digits()
    method.train_step(images.pixels[:30], labels[:30], generator("cpu", 1))
    twin.network.train()
    views = twin.views.varied(images.pixels[:30], generator("cpu", 1)).contiguous(memory_format=torch.channels_last)
    torch.nn.functional.cross_entropy(twin.network(views), labels[:30]).backward()
    for optimiser in optimisers:
        optimiser.step()
    for ours, theirs in zip(method.network.parameters(), twin.network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_a_frozen_trunk_stays_what_the_base_has_learned() -> None:
    method, (images, labels) = tiny(frozen_trunk=True), digits()
    training = method.train_labelled(images, Labelled(images, labels))
    for _ in range(2):
        next(training)
    learned = method.state_dict()["base"]["model"]
    learned = {name: value.clone() for name, value in learned.items() if name.startswith("trunk.")}
    list(training)
    kept = weights(method)
    assert learned and all(torch.equal(value, kept[name]) for name, value in learned.items())


def test_logits_are_averaged_over_the_crops() -> None:
    views = {"size": 8, "crop": 6, "crops_transformed": [6]}
    method = tiny(test_crops=10, base_training=False, epochs=1, base={**BASE, "views": views})
    train(method)
    images, _ = digits()
    method.network.eval()
    with torch.inference_mode():
        each = [method.network(crop) for crop in method.views.crops(images.pixels[:20], 10)]  # ten crops of one image at a time
    expected = torch.stack([logits.mean(0) for logits in each])
    some = Images(images.pixels[:20])
    np.testing.assert_allclose(method.predict_proba(some), expected.softmax(-1).numpy(), atol=1e-5)
    np.testing.assert_array_equal(method.predict_heads(some), expected.argmax(-1).numpy()[None])


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_it_goes_on_after_any_epoch_as_if_nothing_had_happened(cut: int) -> None:
    images, labels = digits()
    whole = tiny()
    epochs = train(whole)
    broken, onward = tiny(), tiny()
    training = broken.train_labelled(images, Labelled(images, labels))
    before = [next(training) for _ in range(cut)]
    onward.load_state_dict(through_disk(broken.state_dict()))
    assert np.array_equal(onward.predict_heads(images), broken.predict_heads(images))
    assert before + train(onward) == epochs
    assert same(weights(onward), weights(whole))
    assert np.array_equal(onward.predict_proba(images), whole.predict_proba(images))


def test_being_judged_after_every_epoch_changes_nothing() -> None:
    images, labels = digits()
    whole, judged = tiny(test_crops=10), tiny(test_crops=10)
    epochs, seen = train(whole), []
    for epoch in judged.train_labelled(images, Labelled(images, labels)):
        judged.predict_heads(images)
        judged.state_dict()
        seen.append(epoch)
    assert seen == epochs and same(weights(judged), weights(whole))


def test_seeds_decide_the_base_the_labels_and_the_classifier() -> None:
    first, again, other = tiny(label_fraction=0.5), tiny(label_fraction=0.5), tiny(seed=1, label_fraction=0.5)
    for method in (first, again, other):
        train(method)
    assert same(weights(first), weights(again)) and not same(weights(first), weights(other))


def record(folder: Path, method: str = "iic", seed: int = 7) -> tuple[Path, IIC]:
    """A finished record of IIC as far as it is read here."""
    alone = IIC(13, seed=seed, **BASE)
    list(alone.train(digits()[0]))
    folder.mkdir()
    save_file({name: value.contiguous() for name, value in alone.network.state_dict().items()}, folder / "model.safetensors")
    about = {"method": method, "dataset": "digits", "protocol": "full", "seed": seed, "n_clusters": 13}
    (folder / "config.yaml").write_text(yaml.safe_dump({**about, "config": alone.config.model_dump(mode="json")}))
    return folder, alone


def test_a_finished_record_is_started_from_in_place_of_the_bases_training(tmp_path: Path) -> None:
    folder, alone = record(tmp_path / "iic")
    method = tiny(start=str(folder), frozen_trunk=True, base={"epochs": 99, "network": "resnet"})
    assert method.planned_epochs == 2 and method.config.base_clusters == 13
    assert method.config.base == alone.config, "the base's settings are those of the record"
    assert [epoch.number for epoch in train(method)] == [1, 2]
    kept = weights(method)
    assert all(torch.equal(value, kept[f"trunk.{name}"]) for name, value in alone.network.trunk.state_dict().items())


def test_a_start_is_known_by_the_checksum_of_its_weights(tmp_path: Path) -> None:
    import hashlib

    folder, _ = record(tmp_path / "iic")
    resolved = resolve("iic-finetune", "mnist", "smoke", set_=[f"start={folder}"]).config
    content = (folder / "model.safetensors").read_bytes()
    assert resolved["start"] == {
        "path": str(folder / "model.safetensors"),
        "sha256": hashlib.sha256(content).hexdigest(),
        "trained_on": "digits, protocol full, seed 7",
    }
    assert IICFinetuneConfig.model_validate(resolved).model_dump(mode="json") == resolved
    method = IICFinetune(10, **resolved)
    save_file({"trunk.0.weight": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(MethodError, match=r"model\.safetensors is not the file that this trial was made for"):
        train(method)
    (folder / "model.safetensors").unlink()
    with pytest.raises(MethodError, match=r"there are no weights at .*model\.safetensors any more"):
        train(method)


def test_going_on_after_an_epoch_needs_the_started_weights_no_more(tmp_path: Path) -> None:
    folder, _ = record(tmp_path / "iic")
    images, labels = digits()
    method = tiny(start=str(folder))
    training = method.train_labelled(images, Labelled(images, labels))
    next(training)
    onward = tiny(**{**method.settings, "start": method.config.start})
    onward.load_state_dict(through_disk(method.state_dict()))
    (folder / "model.safetensors").unlink()
    assert train(onward) == [next(training)] and same(weights(onward), weights(method))


def test_what_cannot_be_started_from_is_refused(tmp_path: Path) -> None:
    folder, _ = record(tmp_path / "other", method="scan")
    with pytest.raises(MethodError, match=r"is a record of 'scan', a record of 'iic' is needed"):
        tiny(start=str(folder))
    with pytest.raises(MethodError, match="is not the folder of a finished iic record"):
        tiny(start=str(tmp_path))
    (folder / "config.yaml").write_text("method: [")
    with pytest.raises(MethodError, match=r"config\.yaml cannot be read"):
        tiny(start=str(folder))
    sound, _ = record(tmp_path / "iic")
    with pytest.raises(MethodError, match="leave one out"):
        tiny(start=str(sound), base_training=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fold": 10}, "setting 'fold'"),
        ({"label_fraction": 0}, "setting 'label_fraction'"),
        ({"test_crops": 3}, "setting 'test_crops'"),
        ({"base": {"lrr": 1}}, r"unknown setting 'base\.lrr'\. Did you mean 'base\.lr'\?"),
        ({"augmentation": {"cutot": 1}}, r"Did you mean 'augmentation\.cutout'\?"),
    ],
)
def test_impossible_settings_are_named(settings: dict, message: str) -> None:
    with pytest.raises(MethodError, match=message):
        tiny(**settings)


def test_a_loss_that_is_not_finite_stops_it() -> None:
    method, (images, labels) = tiny(), digits()
    training = method.train_labelled(images, Labelled(images, labels))
    for _ in range(3):
        next(training)
    with torch.no_grad():
        method.network.head[-1].weight[0] = torch.nan
    with pytest.raises(Diverged, match="iic-finetune: the loss is not finite in epoch 4"):
        next(training)


def test_the_published_settings_build_the_published_network_and_take_a_step() -> None:
    resolved = resolve("iic-finetune", "stl10", "paper")
    method = IICFinetune(10, **{**resolved.config, "base_training": False})
    images = Images(torch.randint(0, 256, (6, 3, 96, 96), dtype=torch.uint8))
    method._build(images.shape)
    assert method.base is not None
    method._build_classifier(method.base)
    assert isinstance(method.network.trunk, ThirdStage)
    assert method.network.head[0].weight.shape == (2048, 20_736)
    assert [group["lr"] for group in method.optimiser.param_groups] == [1e-3, 1e-4]
    assert method.config.base_clusters == 70 and method.config.batch == 700
    loss = method.train_step(images.pixels, torch.arange(6), generator("cpu", 0))
    assert torch.isfinite(loss)
    assert method.predict_heads(images).shape == (1, 6)


def test_every_preset_is_a_configuration_that_the_method_takes() -> None:
    card = methods.card("iic-finetune")
    assert {"paper", "short", "smoke"} <= card["presets"].keys() and card["task"] == IICFinetune.task == "semi-supervised"
    for preset, content in card["presets"].items():
        assert content["changes"]
        for dataset in content["datasets"]:
            resolved = resolve("iic-finetune", dataset, preset)
            assert IICFinetune(10, **resolved.config).config.model_dump(mode="json") == resolved.config


def test_a_few_labels_teach_it_real_digits() -> None:
    data = load_digits()
    images = Images.of((data.images * 255 / 16).round().astype(np.uint8))
    learned, judged = Images(images.pixels[:1400]), Images(images.pixels[1400:])
    settings = {
        **TINY,
        "epochs": 5,
        "steps_per_epoch": 40,
        "hidden": 64,
        "trunk_lr": 3e-3,
        "head_lr": 3e-3,
        "label_fraction": 0.1,
    }
    method = IICFinetune(10, **settings)
    list(method.train_labelled(learned, Labelled(learned, torch.from_numpy(data.target[:1400]))))
    assert (method.predict(judged) == data.target[1400:]).mean() > 0.8  # 140 labels
