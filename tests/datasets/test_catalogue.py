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


@pytest.mark.parametrize("name", datasets.names())
def test_every_card_is_complete(name: str) -> None:
    card = datasets.card(name)
    assert [key for key in TEXTS if not isinstance(card.get(key), str)] == []
    assert card["task"] in {"clustering", "segmentation"}
    assert set(card["protocols"]) <= {"full", "split"}
    assert ("split" in card["protocols"]) == ({"train", "test"} <= card["splits"].keys())
    assert sum(card["splits"].values()) == card["images"]
    assert isinstance(card["download"], bool)
    assert card["size_mb"] > 0


@pytest.mark.parametrize("name", datasets.names())
def test_every_card_is_true_of_its_data(name: str, request: pytest.FixtureRequest) -> None:
    card = datasets.card(name)
    root: Path | None = request.getfixturevalue("shared_data") if card.get("files") else None
    data = load(name, root=root)
    assert data.name == name
    assert {part: len(split.images) for part, split in data.splits.items()} == card["splits"]
    assert list(data.splits) == list(card["splits"])
    assert len(data.class_names) == card["classes"]
    for split in data.splits.values():
        assert list(split.images.shape[1:]) == card["shape"]
        assert np.array_equal(np.unique(split.labels), np.arange(card["classes"]))


def test_an_unknown_data_set_gets_the_nearest_name() -> None:
    with pytest.raises(NotFound, match="Unknown data set 'mnits'. Did you mean 'mnist'"):
        load("mnits")


def test_presence_names_the_root_that_would_be_read(tmp_path: Path) -> None:
    assert present("digits") == "scikit-learn"
    assert present("mnist", tmp_path) is None
    for name in datasets.card("mnist")["files"]:
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
