"""Folders of images: which file belongs where, what becomes of its pixels, and one line for what is wrong with it."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clusterbench.datasets.catalogue import datasets
from clusterbench.datasets.errors import DataError
from clusterbench.datasets.image_folder import read_image_folder
from clusterbench.datasets.source import Chunk, Part, Source, silent


def paint(path: Path, *, seed: int = 0, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> np.ndarray:
    """Save a random image of `size` (height, width); its pixels, in `mode`."""
    channels = {"RGB": (3,), "RGBA": (4,), "CMYK": (4,)}.get(mode, ())
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, *channels), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.frombytes(mode, (size[1], size[0]), pixels.tobytes()).save(path)
    return pixels


def read(folder: Path, **about: Any) -> Source:
    source = read_image_folder(folder, silent, **about)
    assert source is not None
    return source


def whole(part: Part) -> Chunk:
    """All chunks of a part as one, of a part that keeps its promise of the count."""
    chunks = list(part.chunks())
    joined = Chunk(np.concatenate([chunk.images for chunk in chunks]), np.concatenate([chunk.labels for chunk in chunks]))
    assert len(joined.images) == len(joined.labels) == part.count
    return joined


def refusal(folder: Path, **about: Any) -> str:
    """The one line with which `folder` is refused, now or at a later chunk."""
    with pytest.raises(DataError) as refused:
        [whole(part) for part in read(folder, **about).parts]
    message = str(refused.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def test_splits_and_classes_come_from_the_folders_in_natural_order(tmp_path: Path) -> None:
    seeds = {"train/b/img10.png": 0, "train/b/img2.png": 1, "train/a/x/y.bmp": 2, "test/a/1.png": 3, "test/b/1.png": 4}
    painted = {name: paint(tmp_path / name, seed=seed) for name, seed in seeds.items()}
    painted["Unlabelled/z.png"] = paint(tmp_path / "Unlabelled/z.png", seed=5)
    source = read(tmp_path)
    assert source.class_names == ("a", "b")
    assert source.notes == ()
    assert [(part.split, part.count) for part in source.parts] == [("train", 3), ("test", 2), ("unlabeled", 1)]
    train, test, unlabelled = map(whole, source.parts)
    expected = [painted[name] for name in ("train/a/x/y.bmp", "train/b/img2.png", "train/b/img10.png")]
    np.testing.assert_array_equal(train.images.transpose(0, 2, 3, 1), expected)
    assert train.labels.tolist() == [0, 1, 1]
    assert test.labels.tolist() == [0, 1]
    assert unlabelled.labels.tolist() == [-1]


def test_val_stands_for_test_only_where_there_is_none(tmp_path: Path) -> None:
    for name in ("train/a/1.png", "train/b/1.png", "val/a/1.png", "val/b/1.png", "val/b/2.png"):
        paint(tmp_path / name)
    assert [(part.split, part.count) for part in read(tmp_path).parts] == [("train", 2), ("test", 3)]
    paint(tmp_path / "test/a/1.png")
    source = read(tmp_path)
    assert [(part.split, part.count) for part in source.parts] == [("train", 2), ("test", 1)]
    assert source.notes == ("left out beside the splits: val", "test has no images of b")


def test_class_folders_without_splits_are_one_split(tmp_path: Path) -> None:
    for name in ("10/a.png", "9/b.png", "9/deep/er/c.png"):
        paint(tmp_path / name)
    (part,) = read(tmp_path).parts
    assert part.split == "all"
    assert whole(part).labels.tolist() == [0, 0, 1]
    assert read(tmp_path).class_names == ("9", "10")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("train/1.png", "bus/1.png", "car/1.png"):
        paint(tmp_path / name)
    source = read(tmp_path)
    assert source.class_names == ("bus", "car", "train")
    assert source.parts[0].split == "all"


def test_loose_images_have_no_labels(tmp_path: Path) -> None:
    painted = [paint(tmp_path / f"{name}.png", seed=name) for name in (1, 2, 11)]
    (tmp_path / "docs").mkdir()
    (part,) = read(tmp_path).parts
    np.testing.assert_array_equal(whole(part).images.transpose(0, 2, 3, 1), painted)
    assert whole(part).labels.tolist() == [-1, -1, -1]
    assert read(tmp_path).class_names == ()


def test_one_class_folder_alone_is_no_label(tmp_path: Path) -> None:
    paint(tmp_path / "images/1.png")
    source = read(tmp_path)
    assert whole(source.parts[0]).labels.tolist() == [-1]
    assert source.class_names == ()
    assert "no labels" in source.notes[0]


def test_a_flat_test_folder_has_unknown_labels_and_says_so(tmp_path: Path) -> None:
    for name in ("train/a/1.png", "train/b/1.png", "test/1.png"):
        paint(tmp_path / name)
    source = read(tmp_path)
    assert whole(source.parts[1]).labels.tolist() == [-1]
    assert source.notes == ("test has no class folders: its labels are not known",)


def test_hidden_files_are_passed_over_and_other_files_counted(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png", ".hidden/1.png"):
        paint(tmp_path / name)
    for name in (".DS_Store", "a/Thumbs.db", "a/._1.png", "README.txt", "a/about.json", "b/deep.json"):
        (tmp_path / name).write_text("no image")
    source = read(tmp_path)
    assert source.parts[0].count == 2
    assert source.notes == ("3 files that are no images were left out (.json, .txt)",)


def test_known_class_names_decide_the_labels(tmp_path: Path) -> None:
    for name in ("train/Sea_lion/1.png", "train/cat/1.png", "train/ant/1.png"):
        paint(tmp_path / name)
    source = read(tmp_path, shape=[3, 6, 5], class_names=("cat", "sea lion", "ant"))
    assert whole(source.parts[0]).labels.tolist() == [1, 2, 0]  # Sea_lion, ant, cat: capitals come first
    assert source.class_names == ("cat", "sea lion", "ant")
    other = read(tmp_path, shape=[3, 6, 5], class_names=("cat", "dog", "ant"))
    assert other.class_names == ("Sea_lion", "ant", "cat")
    assert "other names" in other.notes[0]


def test_a_named_data_set_is_not_found_in_a_folder_of_something_else(tmp_path: Path) -> None:
    for name in ("holiday/1.png", "work/1.png"):
        paint(tmp_path / name)
    assert read_image_folder(tmp_path, silent, shape=[3, 6, 5], class_names=("cat", "dog")) is None
    assert read_image_folder(tmp_path / "absent", silent) is None
    assert read(tmp_path, shape=[3, 6, 5], class_names=("work", "holiday")).class_names == ("work", "holiday")


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    paint(tmp_path / "elsewhere/1.png")
    folder = tmp_path / "mine"
    for name in ("a/1.png", "a/deep/2.png", "b/1.png"):
        paint(folder / name)
    (folder / "a" / "linked.png").symlink_to(tmp_path / "elsewhere/1.png")
    (folder / "a" / "deep" / "back").symlink_to(folder / "a")
    (folder / "a" / "up").symlink_to(folder)
    assert whole(read(folder).parts[0]).labels.tolist() == [0, 0, 0, 1]


def test_images_of_one_small_size_keep_every_pixel(tmp_path: Path) -> None:
    grey = [paint(tmp_path / f"{number}.png", seed=number, mode="L", size=(256, 3)) for number in range(2)]
    source = read(tmp_path)
    np.testing.assert_array_equal(whole(source.parts[0]).images[:, 0], grey)
    assert source.notes == ()


@pytest.mark.parametrize(("size", "side"), [(None, 96), (32, 32)])
def test_other_images_are_shrunk_and_centre_cut_as_pillow_does(tmp_path: Path, size: int | None, side: int) -> None:
    wide, small = (paint(tmp_path / "1.png", size=(120, 200)), paint(tmp_path / "2.png", size=(side // 2, side // 2)))
    source = read(tmp_path, size=size)
    images = whole(source.parts[0]).images
    width = int(side * 200 / 120)
    resized = np.asarray(Image.fromarray(wide).resize((width, side), Image.Resampling.BILINEAR))
    left = round((width - side) / 2)
    np.testing.assert_array_equal(images[0].transpose(1, 2, 0), resized[:, left : left + side])
    enlarged = Image.fromarray(small).resize((side, side), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(images[1].transpose(1, 2, 0), np.asarray(enlarged))
    assert source.notes == (f"2 of 2 images resized to {side}x{side} and centre cut, 1 of them enlarged",)


def test_one_large_size_is_shrunk_too(tmp_path: Path) -> None:
    paint(tmp_path / "1.png", size=(257, 4))
    assert whole(read(tmp_path).parts[0]).images.shape == (1, 3, 96, 96)


def test_one_colour_image_makes_all_of_three_channels(tmp_path: Path) -> None:
    grey, colour = paint(tmp_path / "1.png", mode="L"), paint(tmp_path / "2.png")
    source = read(tmp_path)
    images = whole(source.parts[0]).images
    np.testing.assert_array_equal(images[0], [grey] * 3)
    np.testing.assert_array_equal(images[1].transpose(1, 2, 0), colour)
    assert source.notes == ("1 of 2 images grey: repeated to three channels",)


def test_unusual_images_are_converted_with_a_note_for_each_kind(tmp_path: Path) -> None:
    cmyk = paint(tmp_path / "1.tif", mode="CMYK")
    deep = np.random.default_rng(1).integers(0, 65536, (6, 5)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "2.png")
    frames = [Image.new("RGB", (5, 6), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "3.gif", save_all=True, append_images=frames[1:])
    paint(tmp_path / "4.png", mode="RGBA")
    source = read(tmp_path)
    images = whole(source.parts[0]).images.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(images[0], np.asarray(Image.frombytes("CMYK", (5, 6), cmyk.tobytes()).convert("RGB")))
    np.testing.assert_array_equal(images[1], np.repeat(np.rint(deep / 257)[..., None], 3, axis=2))
    np.testing.assert_array_equal(images[2], np.asarray(frames[0]))
    said = " ".join(source.notes)
    for words in ("1 of 4 images CMYK", "1 of 4 images of 16-bit grey", "1 of 4 images animated", "with transparency"):
        assert words in said


def test_a_lossy_format_is_noted_for_a_named_data_set_only(tmp_path: Path) -> None:
    for name in ("train/a/1.jpg", "train/b/1.png"):
        paint(tmp_path / name)
    assert read(tmp_path).notes == ()
    assert "1 of 2 images are in formats that may change pixels" in read(tmp_path, shape=[3, 6, 5]).notes[0]


def test_an_empty_class_folder_is_refused_by_name(tmp_path: Path) -> None:
    paint(tmp_path / "train/cat/1.png")
    (tmp_path / "train/dog").mkdir()
    (tmp_path / "train/dog/notes.txt").write_text("none yet")
    assert f"class folder {tmp_path / 'train/dog'} holds no images" in refusal(tmp_path)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    assert "holds no images. Put" in refusal(tmp_path)
    (tmp_path / "a.txt").write_text("no image")
    assert "1 other files (.txt)" in refusal(tmp_path)


def test_images_beside_class_folders_are_refused(tmp_path: Path) -> None:
    paint(tmp_path / "a/1.png")
    paint(tmp_path / "stray.png")
    assert "stray.png" in refusal(tmp_path)


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    for name in ("train/a/1.png", "Train/b/1.png"):
        paint(tmp_path / name)
    assert "which are one split" in refusal(tmp_path)


def test_a_file_that_is_no_image_is_refused_by_name(tmp_path: Path) -> None:
    paint(tmp_path / "a/1.png")
    (tmp_path / "a/2.jpg").write_text("<html>Not found</html>")
    message = refusal(tmp_path)
    assert str(tmp_path / "a/2.jpg") in message
    assert "Remove it" in message


def test_an_image_that_is_cut_short_is_refused_by_name(tmp_path: Path) -> None:
    paint(tmp_path / "1.png", size=(40, 40))
    content = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(content[: len(content) // 2])
    assert "1.png is damaged or cut short" in refusal(tmp_path)


def test_an_image_of_billions_of_pixels_is_refused_unseen(tmp_path: Path) -> None:
    head = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunks = [struct.pack(">I", len(some) - 4) + some + struct.pack(">I", zlib.crc32(some)) for some in (head, b"IDAT")]
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    assert "1.png has more than" in refusal(tmp_path)


def test_an_image_of_another_size_than_the_data_set_s_is_refused_by_name(tmp_path: Path) -> None:
    paint(tmp_path / "train/a/1.png")
    paint(tmp_path / "train/b/1.png", size=(7, 5))
    assert f"{tmp_path / 'train/b/1.png'} is 5x7 pixels where 5x6 are wanted" in refusal(tmp_path, shape=[3, 6, 5])


def test_a_link_to_nothing_is_refused_by_name(tmp_path: Path) -> None:
    paint(tmp_path / "1.png")
    (tmp_path / "2.png").symlink_to(tmp_path / "absent.png")
    assert "2.png is missing" in refusal(tmp_path)


def test_a_folder_that_the_system_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paint(tmp_path / "a/1.png")
    scan = os.scandir

    def refuse(folder: Any) -> Any:
        if Path(folder).name == "a":
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert f"{tmp_path / 'a'} cannot be read (Permission denied)" in refusal(tmp_path)


def test_a_folder_by_the_name_of_an_image_is_a_folder(tmp_path: Path) -> None:
    for name in ("a.png/1.png", "b.png/1.png"):
        paint(tmp_path / name)
    assert read(tmp_path).class_names == ("a.png", "b.png")


def test_the_public_name_stands_for_this_reader() -> None:
    assert datasets.get("folder:PATH").read is read_image_folder
