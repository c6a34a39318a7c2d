"""A folder of images as a stream: what comes, in which order, and what becomes of files that are no images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clusterbench.datasets.errors import DataError
from clusterbench.datasets.image_stream import Seen, stream

random = np.random.default_rng(0)
SHAPE = (1, 8, 8)


def draw(path: Path, size: tuple[int, int] = (8, 8), mode: str = "L") -> np.ndarray:
    """A noise image of width x height; its array."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = random.integers(0, 256, (size[1], size[0], *((3,) if mode == "RGB" else ()))).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def names(folder: Path, seen: Seen | None = None) -> list[str]:
    return [item.name for item in stream(folder, SHAPE, seen or Seen())]


def test_files_come_by_name_those_of_a_folder_before_those_in_it(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "z/c.png", "y/deep/d.png", "y/e.png"):
        draw(tmp_path / name)
    assert names(tmp_path) == ["a.png", "b.png", "y/e.png", "y/deep/d.png", "z/c.png"]


def test_many_files_come_each_once_and_with_their_own_pixels(tmp_path: Path) -> None:
    drawn = {f"{number:03d}.png": draw(tmp_path / f"{number:03d}.png") for number in range(100)}
    found = {item.name: item.pixels for item in stream(tmp_path, SHAPE, Seen())}
    assert list(found) == list(drawn)
    assert all(np.array_equal(found[name][0], pixels) for name, pixels in drawn.items())  # type: ignore[index]


def test_a_bad_file_is_an_answer_and_stops_nothing(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    draw(tmp_path / "c.png")
    (tmp_path / "d.png").write_bytes((tmp_path / "c.png").read_bytes()[:50])
    (tmp_path / "e.png").symlink_to("nowhere.png")
    seen = Seen()
    found = {item.name: item for item in stream(tmp_path, SHAPE, seen)}
    assert [name for name, item in found.items() if item.pixels is not None] == ["a.png", "c.png"]
    assert (
        "is no image" in found["b.png"].problem
        and "cut short" in found["d.png"].problem
        and "is missing" in found["e.png"].problem
    )
    assert (seen.images, seen.bad) == (2, 3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert [item.problem for item in stream(tmp_path, SHAPE, Seen())] == ["is missing or is no file"]


def test_hidden_files_are_passed_over_and_others_counted(tmp_path: Path) -> None:
    for name in ("a.png", ".hidden.png", ".folder/b.png"):
        draw(tmp_path / name)
    (tmp_path / "read.me").write_text("x")
    (tmp_path / "Thumbs.db").write_text("x")
    seen = Seen()
    assert names(tmp_path, seen) == ["a.png"]
    assert seen.others == {".me": 1} and any("1 files (.me)" in note for note in seen.notes(SHAPE))


def test_a_link_in_a_circle_is_followed_once(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "again").symlink_to(tmp_path)
    assert names(tmp_path) == ["in/a.png"]


def test_images_are_brought_to_shape_and_what_that_changed_is_told(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", (16, 32))
    draw(tmp_path / "b.png", (8, 8), "RGB")
    draw(tmp_path / "c.png")
    seen = Seen()
    assert all(item.pixels is not None and item.pixels.shape == SHAPE for item in stream(tmp_path, SHAPE, seen))
    told = seen.notes(SHAPE)
    assert "1 of 3 images resized to 8x8" in told[0] and "1 of 3 images in colour: turned to grey" in told[1]


def test_what_cannot_be_read_as_a_folder_says_so(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    with pytest.raises(DataError, match="is a file. Give the folder"):
        names(tmp_path / "a.png")
    with pytest.raises(DataError, match="does not exist"):
        names(tmp_path / "nowhere")
    with pytest.raises(DataError, match="4 channels"):
        list(stream(tmp_path, (4, 8, 8), Seen()))
