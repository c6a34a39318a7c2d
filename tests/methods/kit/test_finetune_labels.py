"""Which labelled images are drawn, and how they are batched."""

from __future__ import annotations

import pytest
import torch

from clusterbench.datasets.base import Images, Labelled
from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.finetune_labels import labelled_batches, labelled_subset
from clusterbench.methods.kit.randomness import generator


def labelled(labels: list[int] | torch.Tensor, **roles: list[int]) -> Labelled:
    labels = torch.as_tensor(labels)
    parts = {name.replace("_", " "): torch.tensor(rows) for name, rows in roles.items()}
    return Labelled(Images(torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8), parts), labels)


MANY = labelled(torch.arange(1000) % 7 % 4)  # classes 0 to 2 twice as often as class 3


@pytest.mark.parametrize(("fraction", "count"), [(1.0, 1000), (0.5, 500), (0.01, 10), (0.0029, 2), (0.29, 290)])
def test_a_share_is_drawn_without_replacement(fraction: float, count: int) -> None:
    rows = labelled_subset(MANY, 4, fraction=fraction)
    assert rows.dtype == torch.int64 and len(rows) == count == len(rows.unique())


def test_the_seed_decides_the_draw_and_small_shares_are_parts_of_larger_ones() -> None:
    few, more, other = (labelled_subset(MANY, 4, fraction=share, seed=seed) for share, seed in ((0.05, 0), (0.5, 0), (0.05, 1)))
    assert torch.equal(few, more[: len(few)])
    assert not torch.equal(few, other)


def test_labels_do_not_decide_which_images_are_drawn() -> None:
    others = Labelled(MANY.images, MANY.labels.flip(0))
    assert torch.equal(labelled_subset(MANY, 4, fraction=0.1), labelled_subset(others, 4, fraction=0.1))


@pytest.mark.parametrize("fraction", [0.5, 0.1, 0.003])
def test_a_balanced_share_has_it_of_every_class_and_at_least_one(fraction: float) -> None:
    rows = labelled_subset(MANY, 4, fraction=fraction, balanced=True)
    found, whole = (torch.bincount(labels, minlength=4) for labels in (MANY.labels[rows], MANY.labels))
    assert found.tolist() == [max(1, int(fraction * count)) for count in whole.tolist()]
    assert len(rows.unique()) == len(rows)


def test_images_without_a_label_are_left_out() -> None:
    assert sorted(labelled_subset(labelled([0, -1, 1, -1]), 2).tolist()) == [0, 2]


def test_a_fold_is_all_there_is_to_draw_from() -> None:
    data = labelled([0, 1, 0, 1, 0, 1], fold_0=[5, 0, 2], fold_3=[1, 4])
    assert sorted(labelled_subset(data, 2, fold=0).tolist()) == [0, 2, 5]
    assert set(labelled_subset(data, 2, fold=0, fraction=0.7).tolist()) < {0, 2, 5}
    assert sorted(labelled_subset(data, 2, fold=3).tolist()) == [1, 4]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fold": 2}, r"no fold 2: the folds of STL-10 are in fold_indices\.txt .* leave fold out"),
        ({"fraction": 0.001}, r"1 labelled images are too few to learn from; raise label_fraction \(0\.001\)"),
        ({"n_classes": 3}, r"A label is 3, but n_clusters=3 allows 0\.\.2"),
    ],
)
def test_labels_that_cannot_be_learned_from_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(MethodError, match=message):
        labelled_subset(MANY, **{"n_classes": 4, **settings})


def test_no_label_at_all_is_refused() -> None:
    with pytest.raises(MethodError, match="0 labelled images are too few"):
        labelled_subset(labelled([-1, -1, -1]), 10)


@pytest.mark.parametrize(("count", "size", "lengths"), [(10, 4, [4, 4, 2]), (9, 4, [4, 5]), (8, 4, [4, 4]), (3, 4, [3])])
def test_a_pass_takes_every_image_once_and_ends_with_no_single_one(count: int, size: int, lengths: list[int]) -> None:
    batches = labelled_batches(count, size, None, generator("cpu", 0))
    assert [len(batch) for batch in batches] == lengths
    assert sorted(torch.cat(batches).tolist()) == list(range(count))


def test_the_published_pass_over_stl10_has_eight_batches() -> None:
    assert [len(batch) for batch in labelled_batches(5000, 700, None, generator("cpu", 0))] == [700] * 7 + [100]


def test_a_number_of_steps_goes_through_one_shuffled_pass_after_another() -> None:
    batches = labelled_batches(10, 4, 5, generator("cpu", 0))
    assert [len(batch) for batch in batches] == [4] * 5
    flat = torch.cat(batches)
    assert sorted(flat[:10].tolist()) == sorted(flat[10:].tolist()) == list(range(10))
    assert not torch.equal(flat[:10], flat[10:])


def test_steps_on_fewer_images_than_a_batch_holds_take_each_of_them_once() -> None:
    assert [sorted(batch.tolist()) for batch in labelled_batches(3, 100, 2, generator("cpu", 0))] == [[0, 1, 2]] * 2
