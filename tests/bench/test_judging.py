"""Judging: label maps part by part in little memory, maps found on other images, and what the record says of all that."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter, minimum_filter
from sklearn.metrics import adjusted_rand_score, jaccard_score, normalized_mutual_info_score
from trial_fakes import Drift, DriftConfig, outcome, registered, run, two_parts

from clusterbench.bench import checkpoint
from clusterbench.bench.judging import MAPS_SHOWN, Judge
from clusterbench.bench.spec import SpecError, TrialSpec
from clusterbench.datasets.base import DataError, Images, Labelled, TrialData
from clusterbench.datasets.splits import Dataset, Split
from clusterbench.methods.base import Epoch, LabelledMethod, MethodError, State
from clusterbench.results.leaderboard import leaderboard
from clusterbench.results.mapping import map_clusters
from clusterbench.results.metrics import confusion, count_pairs
from clusterbench.results.record import Record
from clusterbench.results.scoring import recompute

CLASSES = ("a", "b", "c")
ROLES = {"main": ["train"], "auxiliary": ["train"], "mapping": ["train"], "scored": ["test"]}


class Pixels(Drift):
    """Judges every pixel by its brightness and a random threshold, three images at a time."""

    name: ClassVar[str] = "pixels"
    task = "segmentation"

    def predict_batches(self, images: Images) -> Iterator[np.ndarray]:
        for indices in images.order("main", 3):
            yield self._maps(images.batch(indices))

    def predict_heads(self, images: Images) -> np.ndarray:
        return np.concatenate(list(self.predict_batches(images)), axis=1)

    def _maps(self, batch: torch.Tensor) -> np.ndarray:
        scale = self.weights[:, 0, :]  # (H, K)
        bright = batch[:, 0].float() / 64 - 2  # (n, h, w)
        return torch.einsum("hk,nyx->hnkyx", scale, bright).add(scale[:, None, :, None, None].sin()).argmax(2).numpy()


class Taught(LabelledMethod):
    """Knows the class of each training image by heart, and gives a new one that of the most similar."""

    name: ClassVar[str] = "taught"
    version: ClassVar[int] = 3
    Config = DriftConfig
    predicts_classes = True

    def train_labelled(self, images: Images, labelled: Labelled) -> Iterator[Epoch]:
        self.known = labelled.images.pixels.flatten(1).float()
        self.classes = labelled.labels
        yield Epoch(1, {"loss": 0.0}, 0.0, len(images))

    @property
    def planned_epochs(self) -> int:
        return 1

    def predict_heads(self, images: Images) -> np.ndarray:
        nearest = torch.cdist(images.pixels.flatten(1).float(), self.known).argmin(1)
        return self.classes[nearest][None].numpy()

    def state_dict(self) -> State:
        return {"known": self.known, "classes": self.classes}

    def load_state_dict(self, state: State) -> None:
        self.known, self.classes = state["known"], state["classes"]


def spec_of(data: TrialData, method: type = Drift, clusters: int = 3, **settings: Any) -> TrialSpec:
    task = "semi-supervised" if data.protocol == "semi-supervised" else method.task
    return TrialSpec(
        method=method.name, method_version=3, task=task, dataset=data.name, data_fingerprint=data.fingerprint,
        protocol=data.protocol, seed=6, n_clusters=clusters, preset="smoke", config=DriftConfig(**settings).model_dump(),
    )  # fmt: skip


def label_maps(n_train: int = 20, n_test: int = 31, side: int = 6, window: int | None = None, smooth: bool = False) -> Dataset:
    """Noise with classes by brightness, a tenth of the pixels not labelled; mapped on train and scored on test under `split`.

    If `smooth`, the classes are the thirds of the image, and what is not labelled is a corner.
    """
    random = np.random.default_rng(1)

    def part(n: int) -> Split:
        images = random.integers(0, 256, (n, 1, side, side)).astype(np.uint8)
        labels = np.clip(images[:, 0].astype(int) // 86 + random.integers(-1, 2, (n, side, side)), 0, 2)
        labels[random.random(labels.shape) < 0.1] = -1
        if smooth:
            labels = np.broadcast_to(np.arange(side)[:, None] * 3 // side, labels.shape).copy()
            labels[:, :4, :5] = -1
        return Split(images, labels.astype(np.int8))

    everything = {role: ["train", "test"] for role in ROLES}
    card = {"protocols": {"full": everything, "split": ROLES}, **({"window": [window, window]} if window else {})}
    return Dataset("maps", {"train": part(n_train), "test": part(n_test)}, CLASSES, card=card)


@pytest.fixture(autouse=True)
def methods_are_known() -> Iterator[None]:
    with registered(Drift), registered(Pixels), registered(Taught):
        yield


@pytest.mark.parametrize(
    ("protocol", "clusters", "window"), [("full", 3, None), ("full", 5, None), ("split", 3, None), ("split", 5, 4)]
)
def test_label_maps_are_scored_exactly_part_by_part(tmp_path: Path, protocol: Any, clusters: int, window: int | None) -> None:
    data = label_maps(window=window).under(protocol)
    assert data.labels.shape[1:] == data.score.shape[1:] == (window or 6,) * 2
    record = run(spec_of(data, Pixels, clusters), data, tmp_path)
    labels, truth = record.labels(), np.asarray(data.labels)
    method = Pixels(clusters, seed=6)
    for name in ("last", "own-loss", "oracle"):
        method.weights = weights_after(clusters, record.metrics[name]["epoch"])
        maps, found_on = method.predict_heads(data.score), None if data.mapping is None else method.predict_heads(data.mapping)
        for head in range(3):
            expected = brute_force(maps[head], truth, found_on if found_on is None else found_on[head], data, clusters)
            assert record.metrics[name]["heads"]["acc"][head] == pytest.approx(expected["acc"])
            if head == record.metrics[name]["head"]:
                for key, value in expected.items():
                    assert record.metrics[name][key] == pytest.approx(value)
            assert np.array_equal(labels[f"{name}/confusion"][head], confusion(maps[head], truth, clusters, 3))
            assert np.array_equal(labels[f"{name}/away-3-confusion"][head], confusion_away(maps[head], truth, clusters))
            assert labels[f"{name}/sizes"][head].tolist() == np.bincount(maps[head].ravel(), minlength=clusters).tolist()
        assert np.array_equal(labels[name], maps[:, :MAPS_SHOWN])
        assert labels[f"{name}/confusion"].dtype == np.int64 and labels[name].dtype == np.int8
    assert np.array_equal(labels["truth"], truth[:MAPS_SHOWN]) and labels["rows"].tolist() == list(range(MAPS_SHOWN))
    assert ("last/mapping-confusion" in labels) == (protocol == "split")


def confusion_away(maps: np.ndarray, truth: np.ndarray, clusters: int) -> np.ndarray:
    """Of the pixels with no other label within 3 pixels."""
    rows, columns = np.mgrid[-3:4, -3:4]
    disc = (rows**2 + columns**2 <= 9)[None]
    away = maximum_filter(truth, footprint=disc) == minimum_filter(truth, footprint=disc)
    return count_pairs(maps, np.where(away, truth, -1), clusters, 3)[:, :-1]


@pytest.mark.parametrize("protocol", ["full", "split"])
def test_a_record_has_the_scores_away_from_boundaries_beside_the_whole(tmp_path: Path, protocol: Any) -> None:
    data = label_maps(smooth=True, side=20).under(protocol)
    record = run(spec_of(data, Pixels), data, tmp_path)
    labels = record.labels()
    for name, metrics in record.metrics.items():
        counts, away = (labels[f"{name}/{kind}confusion"][metrics["head"]] for kind in ("", "away-3-"))
        found_on = labels[f"{name}/mapping-confusion"][metrics["head"]] if protocol == "split" else counts
        scores, classes = metrics["away_from_boundaries"], map_clusters(found_on, "hungarian")
        assert scores["acc"] == pytest.approx(sum(away[cluster, classes[cluster]] for cluster in range(3)) / away.sum())
        assert scores["share"] == pytest.approx(away.sum() / counts.sum()) and 0 < scores["share"] < 0.9
        assert scores["miou"] == pytest.approx(np.mean([value for value in scores["iou"] if value is not None]))
    assert recompute(record) == record.metrics


def weights_after(clusters: int, epoch: int) -> torch.Tensor:
    """Drift's weights are decided by the seed: train again and look."""
    from clusterbench.bench.randomness import seed_all

    seed_all(6)
    method = Pixels(clusters, seed=6)
    for each in method.train(label_maps().under("full").train):
        if each.number == epoch:
            return method.weights
    raise AssertionError(f"there is no epoch {epoch}")


def brute_force(
    maps: np.ndarray, truth: np.ndarray, found_on: np.ndarray | None, data: TrialData, clusters: int
) -> dict[str, float]:
    """All pixels in one array, mapped and compared one by one."""
    known = truth >= 0
    predicted, wanted = maps[known], truth[known]
    if found_on is None:
        matrix, kind = confusion(predicted, wanted, clusters, 3), "hungarian"
    else:
        matrix = confusion(found_on, np.asarray(data.mapping_labels), clusters, 3)
        kind = "many-to-one" if clusters > 3 else "hungarian"
    classes = map_clusters(matrix, kind)[predicted]
    iou = jaccard_score(wanted, classes, labels=[0, 1, 2], average=None)
    return {
        "acc": float((classes == wanted).mean()),
        "nmi": normalized_mutual_info_score(wanted, predicted),
        "ari": adjusted_rand_score(wanted, predicted),
        "iou": iou.tolist(),
        "miou": iou.mean(),
    }


def test_memory_does_not_grow_with_the_pixels() -> None:
    def peak(n: int) -> int:
        data = label_maps(n_train=2, n_test=n, side=64).under("split")
        method = Pixels(3, seed=6)
        method.epoch, method.weights = 0, torch.ones(3, 64 * 64, 3)
        judge = Judge(spec_of(data, Pixels), data)
        tracemalloc.start()
        judge.judge(method)
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return high

    few, many = peak(MAPS_SHOWN + 4), peak(10 * MAPS_SHOWN)
    assert many < 1.2 * few, "ten times the pixels must not take more memory"


def test_a_stopped_trial_on_label_maps_ends_with_the_same_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "LARGEST_SHARE", float("inf"))
    data = label_maps().under("split")
    whole = run(spec_of(data, Pixels), data, tmp_path / "whole")
    Pixels.faults_left = 1
    broken = spec_of(data, Pixels, fault="error", fault_at=4)
    with pytest.raises(RuntimeError, match="fell off"):
        run(broken, data, tmp_path / "broken")
    resumed = run(broken, data, tmp_path / "broken")
    assert resumed.cost["resumed"] == 1
    assert outcome(resumed) == outcome(whole)


@pytest.mark.parametrize("clusters", [3, 7])
def test_a_map_found_on_train_is_judged_on_test(tmp_path: Path, clusters: int) -> None:
    data = two_parts().under("semi-supervised")
    assert data.mapping is not None and data.mapping_labels is not None
    spec = spec_of(data, clusters=clusters)
    record = run(spec, data, tmp_path)
    labels = record.labels()
    assert labels["mapping/truth"].tolist() == data.mapping_labels.tolist()
    for name in ("last", "own-loss", "oracle"):
        head = record.metrics[name]["head"]
        judged, found_on = labels[name][head], labels[f"{name}/mapping"][head]
        matrix = confusion(found_on, data.mapping_labels, clusters, 3)
        classes = map_clusters(matrix, "many-to-one" if clusters > 3 else "hungarian")
        assert record.metrics[name]["acc"] == pytest.approx((classes[judged] == data.labels).mean())
        assert record.metrics[name]["nmi"] == pytest.approx(normalized_mutual_info_score(data.labels, judged))
        assert [row["fraction"] for row in record.metrics[name]["label_fractions"]] == [1, 0.5, 0.1, 0.05, 0.02, 0.01]
        assert record.metrics[name]["label_fractions"][0]["acc_mean"] == pytest.approx(record.metrics[name]["acc"])
    assert record.mapping == {"on": ["train"], "kind": "many-to-one" if clusters > 3 else "hungarian"}
    assert record.metrics["oracle"]["chosen_with"] == {"metric": "acc", "labels_of": ["test"]}
    assert record.metrics["oracle"]["acc"] == max(acc for row in record.epochs() for acc in row["acc"])


def test_a_stopped_semi_supervised_trial_ends_with_the_same_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "LARGEST_SHARE", float("inf"))
    data = two_parts().under("semi-supervised")
    whole = run(spec_of(data, clusters=5), data, tmp_path / "whole")
    Drift.faults_left = 1
    broken = spec_of(data, clusters=5, fault="error", fault_at=3)
    with pytest.raises(RuntimeError, match="fell off"):
        run(broken, data, tmp_path / "broken")
    assert outcome(run(broken, data, tmp_path / "broken")) == outcome(whole)


def test_what_is_mapped_on_the_scored_images_keeps_nothing_else(tmp_path: Path) -> None:
    data = two_parts().under("split")
    assert data.mapping is None
    record = run(spec_of(data), data, tmp_path)
    assert record.mapping == {"on": ["test"], "kind": "hungarian"}
    assert set(record.labels()) == {"truth", *(f"{name}{end}" for name in record.metrics for end in ("", "/head"))}
    for metrics in record.metrics.values():
        assert not {"label_fractions", "chosen_with", "miou", "iou"} & set(metrics)


def test_without_any_label_there_is_no_map(tmp_path: Path) -> None:
    data = two_parts().under("split")
    data = replace(data, labels=np.full(len(data.labels), -1))
    record = run(spec_of(data), data, tmp_path)
    assert record.mapping is None and record.metrics["last"]["acc"] is None and record.metrics["last"]["clusters_used"] > 0


def test_a_map_cannot_be_found_without_labels(tmp_path: Path) -> None:
    data = two_parts().under("semi-supervised")
    data = replace(data, mapping_labels=np.full(len(data.mapping_labels), -1))
    with pytest.raises(DataError, match="parts: no label of train is known to find the mapping on"):
        run(spec_of(data), data, tmp_path)


def test_a_method_that_learns_from_labels_gets_those_of_train_and_is_scored_as_it_is(tmp_path: Path) -> None:
    data = two_parts(200, 60).under("semi-supervised")
    record = run(spec_of(data, Taught), data, tmp_path)
    predicted = record.labels()["last"][0]
    assert record.metrics["last"]["acc"] == pytest.approx((predicted == data.labels).mean())
    assert record.metrics["last"]["acc"] > 0.6
    assert record.mapping == {"on": ["train"], "kind": "identity"}
    assert "label_fractions" not in record.metrics["last"] and "last/mapping" not in record.labels()


def test_classes_are_not_matched_to_look_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Taught.predict_heads
    monkeypatch.setattr(Taught, "predict_heads", lambda self, images: (right(self, images) + 1) % 3)
    data = two_parts(200, 60).under("semi-supervised")
    assert run(spec_of(data, Taught), data, tmp_path).metrics["last"]["acc"] < 0.4


def test_a_method_that_learns_from_labels_needs_a_protocol_that_gives_them(tmp_path: Path) -> None:
    for protocol in ("full", "split"):
        data = two_parts().under(protocol)
        with pytest.raises(SpecError, match="taught learns from labels.*: --protocol semi-supervised"):
            run(spec_of(data, Taught), data, tmp_path)
    with pytest.raises(MethodError, match="taught learns from labels: use train_labelled"):
        Taught(3).fit(two_parts().under("full").train)


def test_a_method_that_predicts_classes_cannot_find_more_of_them(tmp_path: Path) -> None:
    data = two_parts().under("semi-supervised")
    with pytest.raises(SpecError, match="taught predicts the 3 classes of parts, not 5 clusters"):
        run(spec_of(data, Taught, clusters=5), data, tmp_path)


def test_a_method_that_learns_from_labels_needs_all_of_them(tmp_path: Path) -> None:
    data = two_parts().under("semi-supervised")
    some = np.where(np.arange(40) < 3, -1, np.asarray(data.mapping_labels))
    with pytest.raises(DataError, match="taught needs one label for every image of train"):
        run(spec_of(data, Taught), replace(data, mapping_labels=some), tmp_path)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([(3, 20, 6, 6)], r"gave int64 \(3, 20, 6, 6\), not integers of shape \(H, 31, 6, 6\)"),
        ([(3, 20, 6, 6), (2, 11, 6, 6)], "predict_batches gave 2 sub-heads after 3"),
        ([(3, 31, 6, 5)], r"gave int64 \(3, 31, 6, 5\)"),
        ([(3, 20, 6, 6), (3, 12, 6, 6)], r"gave int64 \(3, 12, 6, 6\), not integers of shape \(H, 11, 6, 6\)"),
        ([], r"gave int64 \(0, 0, 6, 6\)"),
    ],
)
def test_parts_that_do_not_make_up_the_whole_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: list[tuple[int, ...]], said: str
) -> None:
    monkeypatch.setattr(Pixels, "predict_batches", lambda self, images: iter(np.zeros(shape, np.int64) for shape in parts))
    data = replace(label_maps().under("split"), mapping=None, mapping_labels=None)
    with pytest.raises(MethodError, match=said):
        run(spec_of(data, Pixels), data, tmp_path)


def test_the_leaderboard_says_whose_labels_were_used(tmp_path: Path) -> None:
    dataset = two_parts(200, 60)
    records: list[Record] = []
    for protocol, method, clusters in (("split", Drift, 3), ("semi-supervised", Drift, 7), ("semi-supervised", Taught, 3)):
        data = dataset.under(protocol)
        records.append(run(spec_of(data, method, clusters), data, tmp_path))
    table = leaderboard(records)
    assert len(table.rows) == 3
    assert {row.group for row in table.rows} == {
        "parts, protocol split", "parts, protocol semi-supervised, labels of training images used",
    }  # fmt: skip
    notes = " ".join(table.footnotes)
    assert "The labels of train mapped clusters to classes (many-to-one)." in notes
    assert "Learned from the labels of train: its predictions are classes." in notes
    assert "ACC matches at most" not in notes
