"""Names of data sets in their parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusterbench.datasets.catalogue import datasets
from clusterbench.datasets.errors import DataError
from clusterbench.datasets.names import parse
from clusterbench.datasets.registry import NotFound


def test_a_plain_name_is_its_own_base() -> None:
    name = parse("cifar100-20")
    assert (name.base, name.path, name.is_sample, name.folder) == ("cifar100-20", None, False, "cifar100-20")


def test_a_sample_has_the_card_of_the_whole_but_promises_nothing_of_it() -> None:
    assert (parse("mnist@sample").base, parse("mnist@sample").is_sample) == ("mnist", True)
    card, whole = datasets.card("mnist@sample"), datasets.card("mnist")
    assert card["shape"] == whole["shape"]
    assert (card["images"], card["download"]) == (None, False)
    assert not {"checksums", "layouts", "size_mb"} & card.keys()
    assert "not results on mnist" in card["summary"]


def test_a_users_folder_has_a_path_and_may_have_a_size(tmp_path: Path) -> None:
    assert parse(f"folder:{tmp_path}").path == tmp_path
    sized = parse(f"folder:{tmp_path}@64")
    assert (sized.base, sized.path, sized.size) == ("folder:PATH", tmp_path, 64)
    assert sized.folder != parse(f"folder:{tmp_path}").folder


def test_a_folder_whose_own_name_ends_like_a_size_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "icons@32").mkdir()
    name = parse(f"folder:{tmp_path}/icons@32")
    assert (name.path, name.size) == (tmp_path / "icons@32", None)


@pytest.mark.parametrize("wrong", ["folder:", "npz:"])
def test_a_missing_path_is_said(wrong: str) -> None:
    with pytest.raises(DataError, match="lacks the path"):
        parse(wrong)


@pytest.mark.parametrize("size", [3, 1025])
def test_a_size_out_of_range_is_said(size: int) -> None:
    with pytest.raises(DataError, match=f"4 to 1024 pixels, not {size}"):
        parse(f"folder:photos@{size}")


def test_two_folders_of_one_name_do_not_share_their_arrays(tmp_path: Path) -> None:
    names = {parse(f"{kind}:{tmp_path}/{place}/cats").folder for kind in ("folder", "npz") for place in "ab"}
    assert len(names) == 4
    assert all(name.split("-")[1] == "cats" for name in names)


def test_the_tilde_stands_for_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert parse("folder:~/pictures").path == Path("/home/ada/pictures")


@pytest.mark.parametrize("asked", ["cifr10", "cifr10@sample"])
def test_an_unknown_name_suggests_the_nearest(asked: str) -> None:
    with pytest.raises(NotFound, match="cifar10"):
        datasets.card(asked)
