"""The catalogue: every card says what a reader of a list needs, and is true of the data it stands for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clusterbench.datasets.catalogue import datasets, load, present
from clusterbench.datasets.registry import NotFound

TEXTS = ("title", "summary", "task", "licence", "citation", "source")


NAMED = [name for name in datasets.names() if ":" not in name]


@pytest.mark.parametrize("name", NAMED)
def test_every_card_is_complete(name: str) -> None:
    card = datasets.card(name)
    assert [key for key in TEXTS if not isinstance(card.get(key), str)] == []
    assert card["task"] in {"clustering", "segmentation"}
    assert sum(card["splits"].values()) == card["images"]
    assert len(card["shape"]) == 3
    assert isinstance(card["download"], bool)
    assert card["size_mb"] > 0
    assert len(card.get("class_names", range(card["classes"]))) == card["classes"]


@pytest.mark.parametrize("name", NAMED)
def test_every_view_maps_the_labels_of_its_store_onto_its_classes(name: str) -> None:
    card = datasets.card(name)
    if "label_map" not in card:
        assert "store" not in card
        return
    assert set(card["label_map"]) - {-1} == set(range(card["classes"]))
    store = datasets.card(card.get("store", name))
    assert len(card["label_map"]) == (len(store["label_map"]) if "label_map" in store else store["classes"])


def test_the_names_of_the_papers_are_all_there() -> None:
    wanted = """digits mnist fashion-mnist usps cifar10 cifar100 cifar100-20 stl10 tiny-imagenet imagenet imagenet-50 imagenet-100
        imagenet-200 coco-stuff coco-stuff-3 coco-stuff-27 coco-stuff-171 potsdam potsdam-3 folder:PATH npz:PATH"""
    assert set(wanted.split()) <= set(datasets.names())


def test_the_card_of_digits_is_true_of_its_data() -> None:
    card, data = datasets.card("digits"), load("digits")
    assert {part: len(split.images) for part, split in data.splits.items()} == card["splits"]
    assert list(data.splits["all"].images.shape[1:]) == card["shape"]
    assert np.array_equal(np.unique(data.splits["all"].labels), np.arange(card["classes"]))


def test_an_unknown_data_set_gets_the_nearest_name() -> None:
    with pytest.raises(NotFound, match="Unknown data set 'mnits'. Did you mean 'mnist'"):
        load("mnits")


def test_presence_names_the_root_that_would_be_read(tmp_path: Path) -> None:
    assert present("digits") == "scikit-learn"
    assert present("mnist", tmp_path) is None
    for name in datasets.card("mnist")["layouts"][0]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.gz").touch()
    assert present("mnist", tmp_path) == str(tmp_path)


def test_listing_needs_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from clusterbench.datasets.catalogue import datasets, present;"
        "[(datasets.card(name), present(name)) for name in datasets.names()];"
        "print(*sorted({'torch', 'numpy', 'sklearn'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
