"""DEC: its stages, its target and its stopping, on small images; and the presets against the authors' code."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import load_digits
from sklearn.metrics.cluster import contingency_matrix

from clusterbench.bench.config import resolve
from clusterbench.datasets.base import Images
from clusterbench.methods.base import Diverged, MethodError
from clusterbench.methods.dec import DEC
from clusterbench.methods.dec_benchmark import Contestant, accuracy
from clusterbench.methods.kit.student_assignment import target_distribution

DATA = load_digits()
IMAGES = Images.of((DATA.images * 255 / 16).round().astype(np.uint8))
FEW = Images(IMAGES.pixels[:120])
TINY: dict[str, Any] = {
    "hidden": (12, 16),
    "pretraining": {"layer_iterations": 6, "finetune_iterations": 8, "batch": 32, "epoch_iterations": 4, "optimiser": "adam",
                    "lr": 1e-3},
    "restarts": 2, "batch": 50, "interval": 3, "most_updates": 4, "tolerance": 0.0,
}  # fmt: skip
PARTS = 2 + 2 + 2 + 2  # of the three layers and of the whole


def watched_batches(method: DEC, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The rows of every clustering step, noted as they are read."""
    rows: list[torch.Tensor] = []
    original = DEC._interval

    def noted(self: DEC, reader: Any, main: torch.Tensor, p: torch.Tensor, order: Any) -> torch.Tensor:
        rows.extend(order)
        return original(self, reader, main, p, order)

    monkeypatch.setattr(DEC, "_interval", noted)
    for _ in method.train(FEW):
        pass
    return rows


def test_its_stages_come_one_after_the_other_and_say_what_they_lose() -> None:
    epochs = list(DEC(10, **TINY).train(FEW))
    names = [name for epoch in epochs for name in epoch.losses]
    layers = ["layer 1", "layer 1", "layer 2", "layer 2", "layer 3", "layer 3", "reconstruction", "reconstruction"]
    assert names == [*layers, "kmeans", *["clustering", "changed"] * 4]
    assert [epoch.criterion for epoch in epochs[: PARTS + 1]] == [None] * (PARTS + 1), (
        "before there are clusters nothing is judged"
    )
    for epoch in epochs[PARTS + 1 :]:
        assert epoch.criterion == epoch.losses["changed"] and epoch.images == 3 * 50 + 120


def test_it_finds_digits_far_better_than_chance_in_seconds() -> None:
    settings = {**resolve("dec", "digits", "short").config, "most_updates": 5}
    settings["pretraining"] = {**settings["pretraining"], "layer_iterations": 60, "finetune_iterations": 120}
    assert accuracy(DEC(10, seed=0, **settings).fit(IMAGES).labels_, DATA.target) > 0.5


def test_it_stops_at_the_first_interval_in_which_hardly_any_image_changes() -> None:
    method = DEC(10, **{**TINY, "most_updates": 200, "tolerance": 0.02})
    changed = [epoch.criterion for epoch in method.train(FEW)][PARTS + 1 :]
    assert changed[-1] < 0.02 <= min(changed[:-1], default=1.0) and len(changed) < 200
    assert method.planned_epochs == PARTS + 1 + len(changed)
    assert list(method.train(FEW)) == [], "what has stopped does not go on"


def test_with_patience_it_stops_by_the_mean_over_several_updates() -> None:
    method = DEC(10, **{**TINY, "most_updates": 60, "tolerance": 0.02, "patience": 4})
    epochs = list(method.train(FEW))[PARTS + 1 :]
    changed = [epoch.losses["changed"] for epoch in epochs]
    means = [None] * 3 + [pytest.approx(np.mean(changed[at - 3 : at + 1])) for at in range(3, len(changed))]
    assert [epoch.criterion for epoch in epochs] == means
    assert epochs[-1].criterion < 0.02 <= min((np.mean(changed[at - 3 : at + 1]) for at in range(3, len(changed) - 1)), default=1)


def test_changed_is_the_share_of_images_whose_cluster_is_another_one() -> None:
    method, before = DEC(10, **TINY), np.zeros(len(FEW))
    for epoch in method.train(FEW):
        now = method.predict(FEW)
        if epoch.criterion is not None:
            assert epoch.criterion == pytest.approx((now != before).mean())
        before = now


def test_the_target_is_that_of_the_whole_set_and_fixed_for_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    method, targets = DEC(10, **TINY), []
    original = DEC._interval

    def noted(self: DEC, reader: Any, main: torch.Tensor, p: torch.Tensor, order: Any) -> torch.Tensor:
        targets.append((p.clone(), target_distribution(torch.from_numpy(self.predict_proba(FEW)))))
        return original(self, reader, main, p, order)

    monkeypatch.setattr(DEC, "_interval", noted)
    for _ in method.train(FEW):
        pass
    assert len(targets) == 4
    for used, wanted in targets:
        torch.testing.assert_close(used, wanted)


def test_an_interval_is_the_solvers_steps_from_rest_on_encoder_and_centres() -> None:
    """One interval by hand: fresh momentum, twice the rate for biases, centres at the rate of weights, decoder untouched."""
    method = DEC(10, **{**TINY, "most_updates": 2, "shuffle": "never", "vectors": {"kind": "scaled"}, "lr": 0.5})
    training = method.train(FEW)
    for _ in range(PARTS + 2):
        next(training)  # the k-means start and one interval
    weights = {name: value.clone().double() for name, value in method.network.state_dict().items()}
    x = FEW.pixels.flatten(1).double() * 0.02
    trained = {name: value.requires_grad_() for name, value in weights.items() if "decoder" not in name}

    def log_q(rows: list[int]) -> torch.Tensor:
        z = x[rows]
        for layer in range(3):
            z = z @ trained[f"autoencoder.encoder.{layer}.weight"].T + trained[f"autoencoder.encoder.{layer}.bias"]
            z = z.relu() if layer < 2 else z
        return (1 / (1 + torch.cdist(z, trained["centres"]) ** 2)).log().log_softmax(1)

    q = log_q([*range(120)]).detach().exp()
    p = (q**2 / q.sum(0)) / (q**2 / q.sum(0)).sum(1, keepdim=True)
    memory = {name: torch.zeros_like(value) for name, value in trained.items()}
    for step in range(3, 6):
        rows = [at % 120 for at in range(50 * step, 50 * step + 50)]
        loss = (p[rows] * (p[rows].log() - log_q(rows))).sum(1).mean()
        for (name, value), slope in zip(trained.items(), torch.autograd.grad(loss, [*trained.values()]), strict=True):
            memory[name] = 0.9 * memory[name] + 0.5 * (2 if "bias" in name else 1) * slope
            value.data -= memory[name]
    next(training)
    for name, value in method.network.state_dict().items():
        torch.testing.assert_close(value.double(), weights[name].detach(), rtol=1e-4, atol=1e-6, msg=name)


def test_each_interval_reads_on_where_the_last_one_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = watched_batches(DEC(10, **{**TINY, "shuffle": "never"}), monkeypatch)
    assert torch.cat(rows).tolist() == [at % 120 for at in range(4 * 3 * 50)]


def test_the_centres_start_at_the_k_means_of_the_embedding() -> None:
    method = DEC(10, **TINY)
    training = method.train(FEW)
    for _ in range(PARTS + 1):
        epoch = next(training)
    x = method.vectors.of(FEW.pixels)
    with torch.no_grad():
        z = method.network.autoencoder.encode(x)
    nearest = torch.cdist(z, method.network.centres).argmin(1)
    for cluster in range(10):
        torch.testing.assert_close(z[nearest == cluster].mean(0), method.network.centres[cluster].detach(), rtol=1e-3, atol=1e-5)
    squared = (z - method.network.centres[nearest]).square().sum(1).mean().item()
    assert epoch.losses["kmeans"] == pytest.approx(squared, rel=1e-4)


@pytest.mark.parametrize(("shuffle", "role", "most", "wanted"), [
    ("never", "main", 30, [*range(100, 40, -2)]),
    ("never", "auxiliary", None, [*range(120)]),
    ("never", "main", 1000, [*range(100, 0, -2)]),
])  # fmt: skip
def test_the_pre_training_reads_the_images_it_is_told(shuffle: str, role: str, most: int | None, wanted: list[int]) -> None:
    roles = {"main": torch.arange(100, 0, -2), "auxiliary": torch.arange(120)}
    method = DEC(10, shuffle=shuffle, pretraining_role=role, pretraining_images=most)
    assert method._pretraining_order(Images(FEW.pixels, roles)).indices.tolist() == wanted


def test_shuffled_once_the_pre_training_takes_a_random_share() -> None:
    found = DEC(10, shuffle="once", pretraining_images=40)._pretraining_order(FEW).indices
    assert len(set(found.tolist())) == 40 and found.max() > 60


def test_only_the_main_images_are_clustered() -> None:
    roles = {"main": torch.arange(40), "auxiliary": torch.arange(120)}
    epochs = list(DEC(4, **{**TINY, "pretraining_role": "auxiliary"}).train(Images(FEW.pixels, roles)))
    assert epochs[PARTS].images == 40 and epochs[-1].images == 3 * 50 + 40


def test_images_that_are_not_scaled_make_it_diverge_with_a_hint() -> None:
    settings = {
        **TINY,
        "vectors": {"kind": "scaled", "scale": 100},
        "pretraining": {"optimiser": "sgd", "lr": 1e4, "layer_iterations": 60},
    }
    with pytest.raises(Diverged, match="dec: the loss of the pre-training is not finite in epoch 1. Lower pretraining.lr"):
        DEC(10, **settings).fit(FEW)


def test_settings_and_images_that_cannot_work_are_refused() -> None:
    with pytest.raises(MethodError, match="dec needs at least as many images as clusters, got 3 for 10"):
        DEC(10, **TINY).fit(FEW.pixels[:3])
    with pytest.raises(MethodError, match="unknown setting 'intervall'. Did you mean 'interval'?"):
        DEC(10, intervall=3)
    with pytest.raises(MethodError, match="pretraining.dropout"):
        DEC(10, pretraining={"dropout": 1.0})
    with pytest.raises(MethodError, match="20x20 pixels or more"):
        DEC(10, vectors={"kind": "hog"}).fit(FEW)


def test_hog_is_made_once_for_images_that_are_judged_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    random = torch.Generator().manual_seed(0)
    images, others = (Images(torch.randint(0, 256, (24, 3, 24, 24), dtype=torch.uint8, generator=random)) for _ in range(2))
    method = DEC(4, **{**TINY, "vectors": {"kind": "hog"}}).fit(images)
    wanted = [method.predict_heads(each).tolist() for each in (images, others)]
    made: list[int] = []
    original = method.vectors.of
    monkeypatch.setattr(method.vectors, "of", lambda batch: made.append(len(batch)) or original(batch))
    assert [method.predict_heads(each).tolist() for each in (others, others, images)] == [wanted[1], wanted[1], wanted[0]]
    assert made == [24], "the first two were judged before, the last were not the last"


def test_bfloat16_layers_give_nearly_the_same_embedding() -> None:
    method = DEC(10, **{**TINY, "precision": "bfloat16"}).fit(FEW)
    half = method.predict_proba(FEW)
    method.config = method.config.model_copy(update={"precision": "float32"})
    np.testing.assert_allclose(half, method.predict_proba(FEW), atol=0.02)
    assert half.dtype == np.float32


def test_progress_is_told_in_every_stage() -> None:
    method, told = DEC(10, **TINY), []
    method.on_step = lambda done, total, images: told.append((done, total, images))
    list(method.train(FEW))
    assert told[:4] == [(1, 4, 32), (2, 4, 64), (3, 4, 96), (4, 4, 128)]
    assert told[-1] == (3, 3, 150) and len(told) == 3 * 6 + 8 + 4 * 3


EVERYWHERE = {"hidden": [500, 500, 2000], "embedding": 10, "restarts": 20, "alpha": 1.0, "tolerance": 0.001, "patience": 1,
              "batch": 256, "lr": 0.01, "momentum": 0.9, "precision": "float32"}  # fmt: skip
PRETRAINING = {"layer_iterations": 50_000, "finetune_iterations": 100_000, "batch": 256, "optimiser": "sgd", "lr": 0.1,
               "lr_step": 20_000, "momentum": 0.9, "momentum_ramp": 1000, "dropout": 0.2, "image_dropout": 0.0,
               "initial_deviation": 0.01}  # fmt: skip
OF_DATA = {
    "mnist": {"vectors": {"kind": "scaled", "scale": 0.02}, "pretraining_role": "main", "pretraining_images": 60_000,
              "shuffle": "never", "interval": 160},
    "stl10": {"vectors": {"kind": "hog", "scale": 0.02}, "pretraining_role": "auxiliary", "pretraining_images": 90_400,
              "shuffle": "once", "interval": 40},
}  # fmt: skip


@pytest.mark.parametrize("dataset", OF_DATA)
def test_every_setting_of_the_paper_is_the_authors_one(dataset: str) -> None:
    config = resolve("dec", dataset, "paper").config
    wanted = EVERYWHERE | OF_DATA[dataset]
    assert {name: config[name] for name in wanted} == wanted
    assert {name: config["pretraining"][name] for name in PRETRAINING} == PRETRAINING
    assert OF_DATA["stl10"]["pretraining_images"] == 113_000 * 4 // 5


def test_mnists_network_has_the_authors_size() -> None:
    method = DEC(10, **resolve("dec", "mnist", "paper").config)
    method.build((1, 28, 28))
    count = sum(parameter.numel() for parameter in method.network.autoencoder.encoder.parameters())
    assert count == 784 * 500 + 500 * 500 + 500 * 2000 + 2000 * 10 + 500 + 500 + 2000 + 10


@pytest.mark.parametrize("preset", ["paper", "short", "smoke"])
@pytest.mark.parametrize("dataset", ["mnist", "digits", "stl10", "cifar10", "somebody-elses"])
def test_presets_know_every_data_set(dataset: str, preset: str) -> None:
    assert DEC(10, **resolve("dec", dataset, preset).config).planned_epochs > 1


def test_the_benchmark_scores_and_times_what_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    from clusterbench.methods.dec_benchmark import compare

    truth = np.repeat(np.arange(3), 20)
    swapped = np.where(np.arange(60) < 6, 2, (truth + 1) % 3)
    counts = contingency_matrix(truth, swapped)
    wanted = counts[linear_sum_assignment(counts, maximize=True)].sum() / 60
    assert accuracy(swapped, truth) == pytest.approx(wanted) == pytest.approx(54 / 60)
    compare([Contestant("ours", lambda seed: truth), Contestant("theirs", lambda seed: swapped)], [3, 4], truth)
    printed = capsys.readouterr().out
    assert "seed 4  theirs" in printed and "ACC 1.000 +- 0.000" in printed and "ACC 0.900 +- 0.000" in printed
    assert "ours takes" in printed
