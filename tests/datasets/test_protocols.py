"""Protocols as named objects: who trains on what, in which order, and what is scored."""

from __future__ import annotations

import numpy as np
import pytest

from clusterbench.datasets.catalogue import datasets
from clusterbench.datasets.errors import DataError
from clusterbench.datasets.protocols import Scheme, interleaved, schemes
from clusterbench.datasets.splits import Dataset, Split

CARD = {
    "splits": {"test": 3, "train": 2, "unlabeled": 5},
    "protocols": {
        "full": {
            "main": ["train", "test"], "auxiliary": ["train", "unlabeled", "test"], "mapping": ["train", "test"],
            "scored": ["train", "test"], "interleave": ["train", "unlabeled"],
        },
        "split": {"main": ["train"], "auxiliary": ["train", "unlabeled"], "mapping": ["test"], "scored": ["test"]},
    },
}  # fmt: skip


@pytest.fixture
def three_parts() -> Dataset:
    """Pixels that say which image it is: 0..2 test, 3..4 train, 5..9 unlabeled."""
    splits, first = {}, 0
    for name, count in CARD["splits"].items():
        rows = np.arange(first, first + count, dtype=np.uint8)
        labels = np.full(count, -1) if name == "unlabeled" else np.arange(count) % 2
        splits[name] = Split(np.tile(rows[:, None, None, None], (1, 1, 2, 2)), labels.astype(np.int64))
        first += count
    return Dataset("parts", splits, ("a", "b"), card=CARD)


def shown(images, rows) -> list[int]:
    return images.pixels[rows][:, 0, 0, 0].tolist()


def test_the_heads_train_on_the_splits_of_their_roles_in_the_order_of_the_card(three_parts: Dataset) -> None:
    trial = three_parts.under("full")
    assert shown(trial.train, trial.train.role("main")) == [3, 4, 0, 1, 2]
    # one train image, then 5 // 2 unlabelled ones; what is left over follows, and the test images come last
    assert shown(trial.train, trial.train.role("auxiliary")) == [3, 5, 6, 4, 7, 8, 9, 0, 1, 2]
    assert shown(trial.score, slice(None)) == [0, 1, 2, 3, 4]
    assert trial.labels.tolist() == [0, 1, 0, 0, 1]


def test_no_scored_image_trains_under_split(three_parts: Dataset) -> None:
    trial = three_parts.under("split")
    assert sorted(shown(trial.train, slice(None))) == [3, 4, 5, 6, 7, 8, 9]
    assert shown(trial.train, trial.train.role("main")) == [3, 4]
    assert shown(trial.score, slice(None)) == [0, 1, 2]


def test_what_stands_together_is_not_copied(three_parts: Dataset) -> None:
    trial = three_parts.under("split")
    joined = three_parts.joined.images
    assert np.shares_memory(trial.train.pixels.numpy(), joined)
    assert np.shares_memory(trial.score.pixels.numpy(), joined)


def test_splits_that_do_not_stand_together_are_put_together(three_parts: Dataset) -> None:
    card = {**CARD, "protocols": {"full": {role: ["test", "unlabeled"] for role in ("main", "auxiliary", "mapping", "scored")}}}
    trial = Dataset("parts", three_parts.splits, ("a", "b"), card=card).under("full")
    assert shown(trial.train, slice(None)) == [0, 1, 2, 5, 6, 7, 8, 9]
    assert trial.train.roles == {}


def test_a_copy_without_some_splits_keeps_the_rest_of_the_protocol(three_parts: Dataset) -> None:
    partial = Dataset("parts", {name: three_parts.splits[name] for name in ("train", "unlabeled")}, ("a", "b"), card=CARD)
    trial = partial.under("full")
    assert shown(trial.train, trial.train.role("auxiliary")) == [3, 5, 6, 4, 7, 8, 9]
    assert shown(trial.score, slice(None)) == [3, 4]
    with pytest.raises(DataError, match="lacks the split test, which --protocol split needs"):
        partial.under("split")


def test_roles_change_the_fingerprint(three_parts: Dataset) -> None:
    full = {**CARD["protocols"]["full"], "interleave": []}
    other = Dataset("parts", three_parts.splits, ("a", "b"), card={**CARD, "protocols": {"full": full}})
    assert other.under("full").fingerprint != three_parts.under("full").fingerprint


def test_under_semi_supervised_the_labels_of_train_find_the_map_and_test_is_judged() -> None:
    random = np.random.default_rng(0)
    parts = {
        name: Split(random.integers(0, 256, (n, 1, 2, 2)).astype(np.uint8), random.integers(0, 2, n))
        for name, n in (("train", 6), ("test", 3))
    }
    trial = Dataset("parts", parts, ("a", "b")).under("semi-supervised")
    assert trial.mapping is trial.train, "the images are the same, so they need not be on a device twice"
    assert trial.mapping_labels is not None and trial.mapping_labels.tolist() == parts["train"].labels.tolist()
    assert np.array_equal(trial.score.pixels.numpy(), parts["test"].images)
    assert np.array_equal(trial.labels, parts["test"].labels)
    assert trial.about["roles"] == {
        "trunk": ["train"],
        "main": ["train"],
        "auxiliary": ["train"],
        "mapping": ["train"],
        "scored": ["test"],
    }


def test_elsewhere_the_map_is_found_on_what_is_scored(three_parts: Dataset) -> None:
    for protocol in ("full", "split"):
        assert three_parts.under(protocol).mapping is three_parts.under(protocol).mapping_labels is None


def test_the_main_head_is_interleaved_too_where_it_trains_on_both_parts(three_parts: Dataset) -> None:
    roles = {"main": ["train", "unlabeled"], "auxiliary": ["unlabeled"], "mapping": ["train"], "scored": ["test"]}
    card = {**CARD, "protocols": {"semi-supervised": {**roles, "interleave": ["train", "unlabeled"]}}}
    trial = Dataset("parts", three_parts.splits, ("a", "b"), card=card).under("semi-supervised")
    assert shown(trial.train, trial.train.role("main")) == [3, 5, 6, 4, 7, 8, 9]
    assert shown(trial.train, trial.train.role("auxiliary")) == [5, 6, 7, 8, 9]
    assert trial.mapping is not None
    assert shown(trial.mapping, slice(None)) == [3, 4]


def test_stl10_trains_both_heads_on_its_unlabelled_images_under_semi_supervised() -> None:
    card = datasets.card("stl10")
    scheme = schemes(card, tuple(card["splits"]))["semi-supervised"]
    assert scheme.main == scheme.auxiliary == scheme.interleave == ("train", "unlabeled")
    assert (scheme.mapping, scheme.scored) == (("train",), ("test",))


def test_every_image_set_with_train_and_test_can_be_semi_supervised() -> None:
    for name in datasets.names():
        card = datasets.card(name)
        splits = tuple(card.get("splits", ()))
        if card["task"] == "clustering" and {"train", "test"} <= set(splits):
            assert "semi-supervised" in schemes(card, splits), name


def test_a_fingerprint_known_under_another_protocol_is_not_computed_again(
    three_parts: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {name: three_parts.splits[name] for name in ("train", "test")}
    fresh = Dataset("parts", parts, ("a", "b"))
    assert fresh.fingerprint("semi-supervised") == fresh.fingerprint("split") != fresh.fingerprint("full")
    prepared = Dataset("parts", parts, ("a", "b"), fingerprints={"split": "known", "full": "other"})
    monkeypatch.setattr(Dataset, "fingerprint", lambda self, protocol: f"computed for {protocol}")
    assert prepared.under("semi-supervised").fingerprint == "known"
    roles = Dataset("parts", three_parts.splits, ("a", "b"), card=CARD, fingerprints={"split": "known"})
    assert roles.under("full").fingerprint == "computed for full"


def test_labels_that_only_find_the_map_change_the_fingerprint(three_parts: Dataset) -> None:
    def found(labels: list[int]) -> str:
        splits = {**three_parts.splits, "train": Split(three_parts.splits["train"].images, np.array(labels))}
        roles = {"main": ["unlabeled"], "auxiliary": ["unlabeled"], "mapping": ["train"], "scored": ["test"]}
        card = {**CARD, "protocols": {"semi-supervised": roles}}
        return Dataset("parts", splits, ("a", "b"), card=card).under("semi-supervised").fingerprint

    assert found([0, 1]) == found([0, 1]) != found([1, 1])


@pytest.mark.parametrize(("first", "second"), [(5, 100), (3, 7), (4, 4), (5, 3), (0, 4), (4, 0)])
def test_interleaving_keeps_every_image_once_and_each_split_in_its_order(first: int, second: int) -> None:
    ones, others = np.arange(first), np.arange(1000, 1000 + second)
    mixed = interleaved(ones, others)
    assert mixed[mixed < 1000].tolist() == ones.tolist()
    assert mixed[mixed >= 1000].tolist() == others.tolist()


def test_stl10_is_interleaved_as_the_authors_did() -> None:
    """One labelled image, then 20 unlabelled ones, 5,000 times (reference: `mix_train`)."""
    mixed = interleaved(np.arange(5_000), np.arange(5_000, 105_000)).reshape(5_000, 21)
    assert np.array_equal(mixed[:, 0], np.arange(5_000))
    assert np.array_equal(mixed[:, 1:].ravel(), np.arange(5_000, 105_000))


@pytest.mark.parametrize(
    ("protocols", "message"),
    [
        (["full", "fancy"], "'fancy' is no standard one"),
        ({"full": {"main": ["train"]}}, "'full' needs main, auxiliary, mapping and scored"),
        ({"full": {role: ["no"] for role in ("main", "auxiliary", "mapping", "scored")}}, "names the split 'no'"),
    ],
)
def test_a_card_that_cannot_be_is_refused(protocols, message: str) -> None:
    with pytest.raises(DataError, match=message):
        schemes({"protocols": protocols}, ("train", "test"))


def test_every_card_has_protocols_whose_roles_name_its_splits() -> None:
    for name in datasets.names():
        card = datasets.card(name)
        if "splits" not in card:
            continue
        found = schemes(card, tuple(card["splits"]))
        assert "full" in found, name
        for scheme in found.values():
            assert isinstance(scheme, Scheme)
            assert set(scheme.needed) <= set(card["splits"]), name


def test_no_card_trains_on_what_split_scores() -> None:
    for name in datasets.names():
        card = datasets.card(name)
        scheme = schemes(card, tuple(card["splits"])).get("split") if "splits" in card else None
        assert scheme is None or not set(scheme.trunk) & set(scheme.scored), name
