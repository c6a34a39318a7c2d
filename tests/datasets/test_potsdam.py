"""Potsdam: small TIFF images and MATLAB tiles in the original layouts, against loops over single pixels."""

from __future__ import annotations

import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from clusterbench.datasets import potsdam
from clusterbench.datasets.catalogue import datasets
from clusterbench.datasets.errors import DataError
from clusterbench.datasets.files import rgbir_tiff
from clusterbench.datasets.potsdam import read_potsdam
from clusterbench.datasets.preparation.segmentation_samples import read_segmentation_sample
from clusterbench.datasets.protocols import schemes
from clusterbench.datasets.source import Source, silent

TILE = 10
COLOURS = {"white": 0, "blue": 1, "cyan": 2, "lime": 3, "yellow": 4, "red": 5}  # as Pillow names them
NAMED = {
    "white": (255, 255, 255), "blue": (0, 0, 255), "cyan": (0, 255, 255), "lime": (0, 255, 0), "yellow": (255, 255, 0),
    "red": (255, 0, 0), "black": (0, 0, 0), "orange": (255, 165, 0),
}  # fmt: skip


def four_band_tiff(pixels: np.ndarray, extra: int | None = 0, photometric: int = 2, order: str = "<") -> bytes:
    """An uncompressed TIFF of uint8 (H, W, 4), its directory behind the pixels, as GDAL writes them."""
    height, width, bands = pixels.shape
    tags = [(256, 4, width), (257, 4, height), (259, 3, 1), (262, 3, photometric), (273, 4, 16), (277, 3, bands)]
    tags += [(278, 4, height), (279, 4, pixels.size), (284, 3, 1), *([(338, 3, extra)] if extra is not None else [])]
    bits = struct.pack(f"{order}4H", 8, 8, 8, 8)
    entries = {tag: struct.pack(f"{order}HHI", tag, kind, 1) + struct.pack(f"{order}{'I' if kind == 4 else 'H2x'}", value)
               for tag, kind, value in tags}  # fmt: skip
    entries[258] = struct.pack(f"{order}HHII", 258, 3, 4, 8)
    start = 16 + pixels.size
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start) + bits
    table = b"".join(entries[tag] for tag in sorted(entries))
    return head + pixels.tobytes() + struct.pack(f"{order}H", len(entries)) + table + bytes(4)


def random_pixels(name: str, side: int = 4 * TILE) -> np.ndarray:
    return np.random.default_rng(sum(name.encode())).integers(0, 256, (side, side, 4), dtype=np.uint8)


def random_colours(name: str, side: int = 4 * TILE, palette: tuple[str, ...] = tuple(COLOURS)) -> np.ndarray:
    """RGB uint8 (side, side, 3) of the named colours."""
    rng = np.random.default_rng(sum(name.encode()) + 1)
    return np.array([NAMED[colour] for colour in palette], np.uint8)[rng.integers(0, len(palette), (side, side))]


def write_isprs(home: Path, labelled: tuple[str, ...] = ("2_10", "2_11"), unlabelled: tuple[str, ...] = ("2_13",)) -> Path:
    images, labels = home / "4_Ortho_RGBIR", home / "5_Labels_for_participants"
    images.mkdir(parents=True)
    labels.mkdir()
    for name in (*labelled, *unlabelled):
        (images / f"top_potsdam_{name}_RGBIR.tif").write_bytes(four_band_tiff(random_pixels(name)))
    for name in labelled:
        Image.fromarray(random_colours(name)).save(labels / f"top_potsdam_{name}_label.tif")
    return home


def write_authors(home: Path, count: int = 6) -> Path:
    """Tiles 0..count-1; the even ones labelled."""
    for name in ("imgs", "gt"):
        (home / name).mkdir(parents=True)
    for number in range(count):
        savemat(home / "imgs" / f"{number}.mat", {"img": random_pixels(str(number), TILE)})
        if number % 2 == 0:
            savemat(home / "gt" / f"{number}.mat", {"gt": np.full((TILE, TILE), number % 6, np.int32)})
    (home / "labelled_train.txt").write_text("4\n0\n")
    (home / "labelled_test.txt").write_text("2\n")
    (home / "unlabelled_train.txt").write_text("5\n1\n3\n")
    return home


def read(folder: Path, tile: int = TILE) -> Source:
    source = read_potsdam(folder, silent, tile=tile)
    assert source is not None
    return source


def arrays(source: Source) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found = {}
    for part in source.parts:
        chunks = list(part.chunks())
        images, labels = np.concatenate([c.images for c in chunks]), np.concatenate([c.labels for c in chunks])
        assert len(images) == len(labels) == part.count
        assert labels.dtype == np.int16
        found[part.split] = images, labels
    return found


def tiles_by_hand(name: str) -> dict[bytes, np.ndarray]:
    """Each tile of an image, pixel by pixel, as its bytes, and its labels."""
    pixels, colours, found = random_pixels(name).astype(int), random_colours(name), {}
    index = {NAMED[colour]: label for colour, label in COLOURS.items()}
    for top in (0, TILE):
        for left in (0, TILE):
            image, labels = np.zeros((4, TILE, TILE), np.uint8), np.zeros((TILE, TILE), int)
            for y in range(TILE):
                for x in range(TILE):
                    row, column = 2 * (top + y), 2 * (left + x)
                    labels[y, x] = index[tuple(colours[row, column].tolist())]
                    for band in range(4):
                        four = [int(pixels[row + i, column + j, band]) for i in (0, 1) for j in (0, 1)]
                        image[band, y, x] = int(sum(four) / 4 + 0.5)
            found[image.tobytes()] = labels
    return found


def the_error(folder: Path, tile: int = TILE) -> str:
    """The one line that reading everything ends in."""
    with pytest.raises(DataError) as caught:
        arrays(read(folder, tile))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("extra", [None, 0, 1, 2])
@pytest.mark.parametrize(("photometric", "order"), [(2, "<"), (1, "<"), (2, ">")])
def test_four_bands_are_read_as_stored_whatever_the_file_calls_the_fourth(
    extra: int | None, photometric: int, order: str
) -> None:
    pixels = random_pixels("any", 6)
    content = four_band_tiff(pixels, extra, photometric, order)
    np.testing.assert_array_equal(rgbir_tiff.four_bands("x.tif", content), pixels)


def test_a_tiff_of_four_bands_written_by_pillow_is_read_too(tmp_path: Path) -> None:
    pixels = random_pixels("any", 8)
    Image.fromarray(pixels, "RGBA").save(tmp_path / "x.tif", compression="tiff_lzw")
    np.testing.assert_array_equal(rgbir_tiff.four_bands("x.tif", (tmp_path / "x.tif").read_bytes()), pixels)


def test_tiles_are_the_halved_image_in_rows_with_labels_of_the_upper_left_pixels(tmp_path: Path) -> None:
    found = arrays(read(write_isprs(tmp_path)))
    expected = tiles_by_hand("2_10") | tiles_by_hand("2_11")
    seen = {}
    for split in ("labelled_train", "labelled_test"):
        seen |= {image.tobytes(): labels for image, labels in zip(*found[split], strict=True)}
    assert seen.keys() == expected.keys()
    for tile, labels in expected.items():
        np.testing.assert_array_equal(seen[tile], labels)
    images, labels = found["unlabelled"]
    assert [image.tobytes() for image in images] == list(tiles_by_hand("2_13"))
    assert (labels == -1).all()


def test_training_tiles_keep_the_order_of_images_and_rows(tmp_path: Path) -> None:
    images, _ = arrays(read(write_isprs(tmp_path)))["labelled_train"]
    order = [*tiles_by_hand("2_10"), *tiles_by_hand("2_11")]
    places = [order.index(image.tobytes()) for image in images]
    assert places == sorted(places) and len(places) == 7


def test_a_tenth_of_all_tiles_is_drawn_for_testing_and_always_the_same(tmp_path: Path) -> None:
    labelled = tuple(f"2_{column}" for column in range(10, 15))
    source = read(write_isprs(tmp_path / "a", labelled, ("3_10", "3_11", "3_12")))
    assert {part.split: part.count for part in source.parts} == {"labelled_train": 17, "labelled_test": 3, "unlabelled": 12}
    test = {image.tobytes() for image in arrays(source)["labelled_test"][0]}
    train = {image.tobytes() for image in arrays(source)["labelled_train"][0]}
    assert len(test) == 3 and len(train) == 17 and not test & train
    again = arrays(read(write_isprs(tmp_path / "b", labelled, ("3_10", "3_11", "3_12"))))
    assert {image.tobytes() for image in again["labelled_test"][0]} == test
    drawn = {(name, position) for name in labelled for position, tile in enumerate(tiles_by_hand(name)) if tile in test}
    assert drawn == {("2_10", 0), ("2_11", 2), ("2_12", 3)}  # the draw is part of the data set: it may never change
    assert any("drawn by us with a fixed seed" in note for note in source.notes)


def test_the_published_sizes_make_225_tiles_of_an_image(tmp_path: Path) -> None:
    splits = datasets.card("potsdam")["splits"]
    assert sum(splits.values()) == 38 * 15 * 15 and splits["labelled_test"] == int(0.1 * 8550)
    assert splits["unlabelled"] == 14 * 15 * 15 and len(potsdam.PARTICIPANTS) == 24
    pixels = np.zeros((800, 1200, 4), np.uint8)
    pixels[400:, 800:, 3] = 9
    (tmp_path / "2_Ortho_RGBIR").mkdir()
    (tmp_path / "2_Ortho_RGBIR" / "top_potsdam_2_10_RGBIR.tif").write_bytes(four_band_tiff(pixels))
    source = read_potsdam(tmp_path, silent)
    assert source is not None
    images, labels = arrays(source)["unlabelled"]
    assert images.shape == (6, 4, 200, 200) and labels.shape == (6, 200, 200)
    assert images[5, 3].min() == 9 and images[:5].max() == 0 and images[5, :3].max() == 0


def test_colours_of_no_class_are_not_judged_and_counted(tmp_path: Path) -> None:
    home = write_isprs(tmp_path)
    path = home / "5_Labels_for_participants" / "top_potsdam_2_11_label.tif"
    colours = random_colours("odd", palette=(*COLOURS, "orange"))
    Image.fromarray(colours).save(path)
    source = read(home)
    strange = sum(tuple(colours[y, x].tolist()) == NAMED["orange"] for y in range(0, 40, 2) for x in range(0, 40, 2))
    (note,) = [note for note in source.notes if "colour that is no class" in note]
    assert note.startswith(f"{strange:,} of 800 label pixels") and "top_potsdam_2_11" in note
    labels = np.concatenate([arrays(source)[split][1] for split in ("labelled_train", "labelled_test")])
    assert (labels == -1).sum() == strange > 0


def test_eroded_boundaries_are_not_judged_and_noted(tmp_path: Path) -> None:
    home = write_isprs(tmp_path)
    folder = home / "5_Labels_for_participants"
    for path in folder.iterdir():
        Image.fromarray(random_colours(path.name, palette=(*COLOURS, "black"))).save(
            path.with_name(path.name.replace("label", "label_noBoundary"))
        )
        path.unlink()
    folder.rename(home / "5_Labels_for_participants_no_Boundary")
    source = read(home)
    assert any("eroded boundaries" in note for note in source.notes)
    assert not any("no class" in note for note in source.notes)
    assert (arrays(source)["labelled_train"][1] == -1).any()


def test_of_the_labels_of_all_images_only_those_of_the_contest_count(tmp_path: Path) -> None:
    home = write_isprs(tmp_path, labelled=("2_10", "2_13"), unlabelled=())
    (home / "5_Labels_for_participants").rename(home / "5_Labels_all")
    assert {part.split: part.count for part in read(home).parts} == {"labelled_train": 4, "unlabelled": 4}


def test_zip_archives_give_what_their_folders_give(tmp_path: Path) -> None:
    home, packed = write_isprs(tmp_path / "plain"), tmp_path / "packed" / "potsdam"
    packed.mkdir(parents=True)
    for folder in home.iterdir():
        with zipfile.ZipFile(packed / f"{folder.name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in folder.iterdir():
                archive.write(path, f"{folder.name}/{path.name}")
    plain = arrays(read(home))
    for place in (packed.parent, packed, packed / "4_Ortho_RGBIR.zip"):
        unpacked = arrays(read(place))
        for split, pair in plain.items():
            np.testing.assert_array_equal(unpacked[split][0], pair[0])
            np.testing.assert_array_equal(unpacked[split][1], pair[1])


@pytest.mark.parametrize("inside", ["", "4_Ortho_RGBIR", "5_Labels_for_participants"])
def test_any_folder_of_the_originals_leads_to_them(tmp_path: Path, inside: str) -> None:
    home = write_isprs(tmp_path / "Potsdam")
    assert len(read(home / inside).parts) == 3 and len(read(tmp_path).parts) == 3


def test_a_folder_without_potsdam_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "imgs").mkdir()
    assert read_potsdam(tmp_path, silent) is None


def test_the_authors_tiles_come_by_their_lists_in_their_order(tmp_path: Path) -> None:
    source = read(write_authors(tmp_path))
    assert source.notes == () and [part.split for part in source.parts] == ["labelled_train", "labelled_test", "unlabelled"]
    found = arrays(source)
    for split, names in {"labelled_train": "40", "labelled_test": "2", "unlabelled": "513"}.items():
        images, labels = found[split]
        expected = np.stack([random_pixels(name, TILE).transpose(2, 0, 1) for name in names])
        np.testing.assert_array_equal(images, expected)
        assert [set(np.unique(each)) for each in labels] == [{-1} if split == "unlabelled" else {int(name)} for name in names]


def test_the_authors_lists_win_over_the_isprs_images(tmp_path: Path) -> None:
    write_isprs(tmp_path)
    write_authors(tmp_path)
    assert {part.split: part.count for part in read(tmp_path).parts} == {"labelled_train": 2, "labelled_test": 1, "unlabelled": 3}


def test_a_missing_list_leaves_out_its_split(tmp_path: Path) -> None:
    (write_authors(tmp_path) / "labelled_test.txt").unlink()
    assert [part.split for part in read(tmp_path).parts] == ["labelled_train", "unlabelled"]


def test_damage_to_the_isprs_files_is_one_line_each(tmp_path: Path) -> None:
    image = Path("4_Ortho_RGBIR/top_potsdam_2_11_RGBIR.tif")
    label = Path("5_Labels_for_participants/top_potsdam_2_11_label.tif")
    whole = write_isprs(tmp_path / "whole")

    def broken(name: str, path: Path, content: bytes) -> str:
        shutil.copytree(whole, tmp_path / name)
        (tmp_path / name / path).write_bytes(content)
        return the_error(tmp_path / name)

    sound = (whole / image).read_bytes()
    assert "top_potsdam_2_11_RGBIR.tif is damaged or cut short" in broken("short", image, sound[: len(sound) // 2])
    assert "does not begin like a TIFF file" in broken("text", image, b"no image")
    assert "42x40 pixels" in broken("odd", image, four_band_tiff(np.zeros((40, 42, 4), np.uint8)))
    rgb = (whole / label).read_bytes()
    assert "instead of four of 8 bits" in broken("rgb", image, rgb)
    assert "top_potsdam_2_11_label.tif is damaged or cut short" in broken("label", label, rgb[: len(rgb) // 2])
    Image.fromarray(random_colours("x", 20)).save(tmp_path / "small.tif")
    assert "20x20" in broken("small", label, (tmp_path / "small.tif").read_bytes())


def test_damage_to_the_authors_files_is_one_line_each(tmp_path: Path) -> None:
    whole = write_authors(tmp_path / "whole")

    def broken(name: str, path: str, content: bytes | None) -> str:
        shutil.copytree(whole, tmp_path / name)
        file = tmp_path / name / path
        file.unlink() if content is None else file.write_bytes(content)
        return the_error(tmp_path / name)

    sound = (whole / "imgs/4.mat").read_bytes()
    assert "4.mat is damaged or cut short" in broken("short", "imgs/4.mat", sound[: len(sound) // 2])
    assert "gt lacks 1 of the 2 tiles that labelled_train.txt lists, first 4.mat" in broken("gt", "gt/4.mat", None)
    assert "which is no number of a tile" in broken("list", "labelled_test.txt", b"../../secret\n")
    savemat(tmp_path / "x.mat", {"gt": np.full((TILE, TILE), 6, np.int32)})
    assert "holds the label 6, outside 0..5" in broken("label", "gt/4.mat", (tmp_path / "x.mat").read_bytes())
    savemat(tmp_path / "y.mat", {"img": np.zeros((TILE, TILE, 3), np.uint8)})
    assert "unlike the authors' tiles" in broken("bands", "imgs/4.mat", (tmp_path / "y.mat").read_bytes())


def test_a_truncated_archive_is_one_line(tmp_path: Path) -> None:
    home = write_isprs(tmp_path)
    with zipfile.ZipFile(home / "5_Labels_for_participants.zip", "w") as archive:
        for path in (home / "5_Labels_for_participants").iterdir():
            archive.write(path, path.name)
    shutil.rmtree(home / "5_Labels_for_participants")
    content = (home / "5_Labels_for_participants.zip").read_bytes()
    (home / "5_Labels_for_participants.zip").write_bytes(content[:-200])
    assert "5_Labels_for_participants.zip is no archive, damaged or cut short" in the_error(home)


@pytest.mark.parametrize("name", ["Potsdam.tar.gz", "Potsdam.zip"])
def test_a_packed_distribution_must_be_unpacked_first(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"anything")
    assert "must be unpacked first" in the_error(tmp_path / name)


def test_the_three_classes_are_the_pairs_of_the_paper() -> None:
    six, three = (datasets.card(name) for name in ("potsdam", "potsdam-3"))
    pairs = {
        "roads and cars": {"impervious surface", "car"},
        "buildings and clutter": {"building", "clutter"},
        "vegetation and trees": {"low vegetation", "tree"},
    }
    assert three["store"] == "potsdam"
    for label, name in enumerate(three["class_names"]):
        assert {six["class_names"][i] for i, to in enumerate(three["label_map"]) if to == label} == pairs[name]


def test_protocols_train_and_score_what_the_paper_did() -> None:
    card = datasets.card("potsdam-3")
    counts, found = card["splits"], schemes(card, list(card["splits"]))
    full, split = found["full"], found["split"]
    assert [sum(counts[name] for name in names) for names in (full.main, full.auxiliary, full.mapping, full.scored)] == [
        8550, 8550, 5400, 5400,
    ]  # fmt: skip
    assert [sum(counts[name] for name in names) for names in (split.main, split.mapping, split.scored)] == [7695, 4545, 855]


def test_the_real_sample_is_cut_from_the_halved_crop(shared_data: Path) -> None:
    source = read_segmentation_sample("potsdam@sample", shared_data, silent)
    assert source is not None and len(source.notes) == 1 and source.class_names[4] == "car"
    found = arrays(source)
    assert list(found) == ["labelled_train", "labelled_test", "unlabelled"]
    assert {images.shape for images, _ in found.values()} == {(3, 3, 200, 200)}
    folder = shared_data / "segmentation" / "potsdam"
    crop = np.asarray(Image.open(folder / "images/2_10_0_0_512_512.png").convert("RGB")).astype(int)
    values = np.asarray(Image.open(folder / "labels/2_10_0_0_512_512.png"))
    for row, split in enumerate(found):
        for column in range(3):
            image, labels = found[split][0][column], found[split][1][column]
            for y, x in ((0, 0), (17, 130), (199, 199)):
                top, left = 2 * (28 * row + y), 2 * (28 * column + x)
                mean = crop[top : top + 2, left : left + 2].reshape(4, 3).sum(axis=0) / 4
                assert image[:, y, x].tolist() == np.floor(mean + 0.5).astype(int).tolist()
                value = int(values[top, left])
                assert labels[y, x] == (-1 if split == "unlabelled" or value == 0 else value - 1)


def test_the_real_sample_has_the_label_counts_of_its_file(shared_data: Path) -> None:
    source = read_segmentation_sample("potsdam-3", shared_data / "segmentation", silent)
    assert source is not None
    values = np.asarray(Image.open(shared_data / "segmentation/potsdam/labels/2_10_0_0_512_512.png"))[::2, ::2][28:228, 56:256]
    labels = arrays(source)["labelled_test"][1][2]
    counts = np.bincount(values.ravel(), minlength=7)
    assert [(labels == label).sum() for label in (-1, 0, 1, 2, 3, 4, 5)] == counts.tolist()
    assert counts[1:6].min() > 0


def test_there_is_no_sample_without_its_files(tmp_path: Path) -> None:
    assert read_segmentation_sample("potsdam@sample", tmp_path, silent) is None
    assert read_segmentation_sample("mnist@sample", tmp_path, silent) is None
