"""Where data is looked for: the order of the folders, and what counts as found."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusterbench.datasets.errors import DataError
from clusterbench.datasets.roots import data_roots, download_root, missing


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """An explicit root and one in the variable, both there; and the cache's place, which is not."""
    places = {"explicit": tmp_path / "explicit", "variable": tmp_path / "variable"}
    for place in places.values():
        place.mkdir()
    monkeypatch.setenv("CLUSTERBENCH_DATA", str(places["variable"]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return {**places, "cache": tmp_path / "cache" / "clusterbench" / "data"}


def test_the_option_comes_before_the_variable_and_the_variable_before_the_cache(folders: dict[str, Path]) -> None:
    assert data_roots(folders["explicit"]) == [folders["explicit"], folders["variable"], folders["cache"]]
    assert data_roots() == [folders["variable"], folders["cache"]]


def test_downloads_go_to_the_first_root(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert download_root(str(folders["explicit"])) == folders["explicit"]
    assert download_root() == folders["variable"]
    monkeypatch.delenv("CLUSTERBENCH_DATA")
    assert download_root() == folders["cache"]


def test_without_xdg_the_cache_is_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_roots() == [tmp_path / ".cache" / "clusterbench" / "data"]


def test_a_tilde_means_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "pictures").mkdir()
    assert data_roots("~/pictures")[0] == tmp_path / "pictures"


def test_a_named_root_that_is_not_there_is_an_error_not_an_empty_one(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"/nowhere \(--data-root\) is not a folder"):
        data_roots("/nowhere")
    monkeypatch.setenv("CLUSTERBENCH_DATA", "/nowhere")
    with pytest.raises(DataError, match=r"/nowhere \(\$CLUSTERBENCH_DATA\) is not a folder"):
        data_roots(folders["explicit"])


def test_files_and_folders_are_found_packed_or_unpacked(folders: dict[str, Path]) -> None:
    (folders["explicit"] / "a").mkdir()
    assert missing(["a", "b"], folders["explicit"]) == ["b"]
    (folders["explicit"] / "b.gz").touch()
    assert missing(["a", "b"], folders["explicit"]) == []
