"""COCO-Stuff: small photographs and label maps in the original layouts, against OpenCV's numbers and loops over pixels."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from clusterbench.datasets.catalogue import datasets
from clusterbench.datasets.coco_stuff import download_coco_stuff, meets_rule, read_coco_stuff
from clusterbench.datasets.coco_stuff_frames import framed, shrunk_image, shrunk_labels, shrunk_side
from clusterbench.datasets.coco_stuff_names import VALUE_NAMES
from clusterbench.datasets.errors import DataError
from clusterbench.datasets.files import downloads
from clusterbench.datasets.preparation.segmentation_samples import read_segmentation_sample
from clusterbench.datasets.protocols import schemes
from clusterbench.datasets.source import Source, silent

FULL, FEW = "Coco164kFull_Stuff_Coarse_7", "Coco164kFew_Stuff_6"
LABELS_ZIP = "stuffthingmaps_trainval2017.zip"
SKY, SEA, PERSON = 156, 154, 0

# The hierarchy of COCO-Stuff, retyped: name -> label values.
COARSE = {
    "electronic things": range(71, 77), "appliance things": range(77, 83), "food things": range(51, 61),
    "furniture things": range(61, 71), "indoor things": range(83, 91), "kitchen things": range(43, 51),
    "accessory things": range(25, 33), "animal things": range(15, 25), "outdoor things": range(9, 15), "person things": [0],
    "sports things": range(33, 43), "vehicle things": range(1, 9), "ceiling stuff": [101, 102],
    "floor stuff": [100, 113, 114, 115, 116, 117], "food stuff": [120, 121, 152, 169],
    "furniture stuff": [97, 106, 107, 109, 111, 122, 129, 132, 155, 160, 164], "raw material stuff": [99, 131, 138, 142],
    "textile stuff": [91, 92, 103, 104, 108, 130, 136, 140, 151, 166, 167], "wall stuff": range(170, 177),
    "window stuff": [179, 180], "building stuff": [94, 95, 127, 150, 157, 165],
    "ground stuff": [110, 124, 125, 135, 139, 143, 144, 146, 148, 153, 158],
    "plant stuff": [93, 96, 118, 123, 128, 133, 141, 162, 168], "sky stuff": [105, 156],
    "solid stuff": [126, 134, 149, 159, 161, 181], "structural stuff": [98, 112, 137, 145, 163],
    "water stuff": [119, 147, 154, 177, 178],
}  # fmt: skip


def number(n: int) -> str:
    return f"{n:012d}"


def jpeg(seed: int, height: int, width: int, mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def png(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def label_map(seed: int, height: int, width: int, choices: tuple[int, ...] = (SKY, SEA, PERSON, 255)) -> np.ndarray:
    return np.random.default_rng(seed + 100).choice(np.array(choices, np.uint8), (height, width))


SIZES = {1: (48, 64), 2: (40, 60), 3: (64, 48), 4: (61, 45)}  # height, width
WHERE = {1: "train2017", 2: "train2017", 3: "train2017", 4: "val2017"}


def write_folders(home: Path, images: str = "images", labels: str = "annotations", lists: tuple[str, ...] = (FULL, FEW)) -> Path:
    for n, (height, width) in SIZES.items():
        for kind, suffix, content in ((images, "jpg", jpeg(n, height, width)), (labels, "png", png(label_map(n, height, width)))):
            path = home / kind / WHERE[n] / f"{number(n)}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    for name in lists:
        write_lists(home / "curated", name)
    return home


def write_lists(folder: Path, name: str, train: tuple[int, ...] = (3, 1), val: tuple[int, ...] = (4,)) -> None:
    for year, chosen in (("train2017", train), ("val2017", val)):
        path = folder / year / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{number(n)}\n" for n in chosen))


def pack(plain: Path, home: Path) -> Path:
    """The archives as they are distributed, and the lists as the authors pack them."""
    home.mkdir(parents=True)
    for year in ("train2017", "val2017"):
        with zipfile.ZipFile(home / f"{year}.zip", "w") as archive:
            for path in sorted((plain / "images" / year).iterdir()):
                archive.write(path, f"{year}/{path.name}")
    with zipfile.ZipFile(home / LABELS_ZIP, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((plain / "annotations").rglob("*.png")):
            archive.write(path, path.relative_to(plain / "annotations").as_posix())
    with tarfile.open(home / "COCOStuff164kCurated.tar.gz", "w:gz") as archive:
        archive.add(plain / "curated", "COCO/CocoStuff164k/curated")
    return home


def read(folder: Path, name: str = "coco-stuff") -> Source:
    source = read_coco_stuff(folder, silent, name=name)
    assert source is not None
    return source


def arrays(source: Source) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    found = {}
    for part in source.parts:
        chunks = list(part.chunks())
        assert all(chunk.extents is not None for chunk in chunks)
        found[part.split] = tuple(np.concatenate([getattr(c, what) for c in chunks]) for what in ("images", "labels", "extents"))
        assert [len(array) for array in found[part.split]] == [part.count] * 3
    return found


def the_error(folder: Path, name: str = "coco-stuff") -> str:
    """The one line that reading everything ends in."""
    with pytest.raises(DataError) as caught:
        arrays(read(folder, name))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def shrunk_by_hand(pixels: np.ndarray) -> np.ndarray:
    """Bilinear between the four pixels around each place, in double precision; (H, W)."""
    height, width = pixels.shape
    found = np.zeros((round(0.33 * height), round(0.33 * width)))
    for y in range(found.shape[0]):
        for x in range(found.shape[1]):
            v, u = (min(max((i + 0.5) / 0.33 - 0.5, 0), side - 1) for i, side in ((y, height), (x, width)))
            top, left = int(v), int(u)
            bottom, right, down, across = min(top + 1, height - 1), min(left + 1, width - 1), v - top, u - left
            upper = pixels[top, left] * (1 - across) + pixels[top, right] * across
            lower = pixels[bottom, left] * (1 - across) + pixels[bottom, right] * across
            found[y, x] = upper * (1 - down) + lower * down
    return found


def test_shrinking_gives_the_bytes_that_opencv_gives() -> None:
    y, x = np.mgrid[:12, :10]
    pixels = ((y * 37 + x * 53 + y * x * 11) % 256).astype(np.uint8)
    # cv2.resize(pixels.astype(float32), None, fx=0.33, fy=0.33, interpolation=cv2.INTER_LINEAR).astype(uint8), OpenCV 5.0.0
    by_opencv = [[102, 41, 212], [233, 32, 70], [134, 23, 126], [28, 232, 208]]
    np.testing.assert_array_equal(shrunk_image(pixels[..., None])[..., 0], by_opencv)
    places = np.arange(120).reshape(12, 10)
    np.testing.assert_array_equal(shrunk_labels(places), [[0, 3, 6], [30, 33, 36], [60, 63, 66], [90, 93, 96]])  # INTER_NEAREST


@pytest.mark.parametrize("size", [(50, 75), (37, 64), (61, 40), (4, 5)])
def test_shrinking_agrees_with_a_loop_over_pixels_and_with_torch(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    small, labels = shrunk_image(pixels), np.arange(size[0] * size[1]).reshape(size)
    by_hand = np.stack([shrunk_by_hand(pixels[..., channel].astype(float)) for channel in range(3)], axis=2)
    assert small.shape == by_hand.shape == (*shrunk_labels(labels).shape, 3)
    near_whole = np.abs(by_hand - np.rint(by_hand)) < 1e-3  # single precision may fall on either side of it
    np.testing.assert_array_equal(small[~near_whole], np.floor(by_hand).astype(np.uint8)[~near_whole])
    tensor = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32))[None]
    by_torch = F.interpolate(tensor, scale_factor=0.33, mode="bilinear", recompute_scale_factor=False)[0].permute(1, 2, 0).numpy()
    rows, columns = by_torch.shape[:2]  # torch cuts the size off instead of rounding it
    np.testing.assert_allclose(by_hand[:rows, :columns], by_torch, atol=1e-2)
    for y, row in enumerate(shrunk_labels(labels)):
        assert row.tolist() == [labels[min(int(y / 0.33), size[0] - 1), min(int(x / 0.33), size[1] - 1)] for x in range(len(row))]


def test_a_flat_image_stays_flat() -> None:
    for level in range(256):
        assert np.unique(shrunk_image(np.full((20, 23, 1), level, np.uint8))).tolist() == [level]


def test_sides_are_rounded_to_the_nearest_whole_number_and_halves_to_the_even_one() -> None:
    assert [shrunk_side(side) for side in (640, 480, 427, 360, 50, 150)] == [211, 158, 141, 119, 16, 50]  # 16.5 -> 16, 49.5 -> 50


def test_a_narrow_image_is_padded_in_the_middle_and_stands_in_the_corner_of_the_frame() -> None:
    image, labels = np.full((119, 141, 3), 7, np.uint8), np.full((119, 141), 5, np.int16)
    pixels, maps, extent = framed(image, labels)
    assert pixels.shape == (3, 212, 212) and maps.dtype == np.int16 and extent == (128, 141)
    rows, columns = np.nonzero(maps >= 0)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 123, 0, 140)  # 128 // 2 - 119 // 2 = 5
    np.testing.assert_array_equal(pixels[1] == 7, maps == 5)
    assert (pixels[:, maps == -1] == 0).all()


def test_images_come_by_the_lists_shrunk_and_framed(tmp_path: Path) -> None:
    source = read(write_folders(tmp_path))
    assert source.notes == () and source.class_names == VALUE_NAMES
    assert {part.split: part.count for part in source.parts} == {"train": 2, "val": 1}
    found = arrays(source)
    for split, numbers in {"train": (3, 1), "val": (4,)}.items():
        for n, pixels, maps, extent in zip(numbers, *found[split], strict=True):
            height, width = SIZES[n]
            original = np.asarray(Image.open(io.BytesIO(jpeg(n, height, width))))
            small, values = shrunk_image(original), label_map(n, height, width).astype(np.int16)
            values[values == 255] = -1
            top, left = 64 - len(small) // 2, 64 - small.shape[1] // 2
            inside = slice(top, top + len(small)), slice(left, left + small.shape[1])
            np.testing.assert_array_equal(pixels.transpose(1, 2, 0)[inside], small)
            np.testing.assert_array_equal(maps[inside], shrunk_labels(values))
            assert extent.tolist() == [128, 128] and (maps >= 0).sum() == (shrunk_labels(values) >= 0).sum()
            assert not pixels.any(axis=0)[maps == -1].all()  # unlabelled pixels keep their colours


def test_grey_photographs_become_three_equal_channels(tmp_path: Path) -> None:
    home = write_folders(tmp_path)
    (home / "images/val2017" / f"{number(4)}.jpg").write_bytes(jpeg(4, *SIZES[4], mode="L"))
    images, _, _ = arrays(read(home))["val"]
    assert images.any() and (images[:, 0] == images[:, 1]).all() and (images[:, 0] == images[:, 2]).all()


def test_archives_give_what_folders_give(tmp_path: Path) -> None:
    plain = arrays(read(write_folders(tmp_path / "plain")))
    home = pack(tmp_path / "plain", tmp_path / "packed" / "coco")
    for place in (home, home.parent, home / "val2017.zip", home / LABELS_ZIP):
        source = read(place)
        assert source.notes == ()
        for split, found in arrays(source).items():
            for expected, array in zip(plain[split], found, strict=True):
                np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(("images", "labels"), [("images", "annotations"), (".", "stuffthingmaps"), (".", ".")])
def test_extracted_archives_are_found_where_people_put_them(tmp_path: Path, images: str, labels: str) -> None:
    home = write_folders(tmp_path / "data", images, labels)
    for place in (home, home / images / "train2017"):
        assert {part.split: part.count for part in read(place).parts} == {"train": 2, "val": 1}


def test_one_split_alone_is_read_alone(tmp_path: Path) -> None:
    shutil.rmtree(write_folders(tmp_path) / "images" / "train2017")
    assert [part.split for part in read(tmp_path).parts] == ["val"]


def test_photographs_without_label_maps_are_passed_over(tmp_path: Path) -> None:
    shutil.rmtree(write_folders(tmp_path) / "annotations")
    assert read_coco_stuff(tmp_path, silent) is None


def mostly(value: int, pixels: int, rest: int, height: int = 360, width: int = 360) -> np.ndarray:
    """A label map with `pixels` pixels of `value` and `rest` elsewhere."""
    flat = np.full(height * width, rest)
    flat[:pixels] = value
    return flat.reshape(height, width)


def test_without_lists_the_authors_rule_chooses(tmp_path: Path) -> None:
    three_quarters = 360 * 360 * 3 // 4
    maps = {
        1: mostly(SEA, three_quarters, PERSON),
        2: mostly(SEA, three_quarters - 1, PERSON),
        3: mostly(SKY, three_quarters, 255),
        4: mostly(SKY, 359 * 400, SKY, 359, 400),
        5: mostly(SKY, three_quarters // 2, SEA),
    }
    for n, values in maps.items():
        for kind, suffix, content in (("images", "jpg", jpeg(n, *values.shape)), ("annotations", "png", png(values))):
            path = tmp_path / kind / "val2017" / f"{number(n)}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    full, few = read(tmp_path), read(tmp_path, "coco-stuff-3")
    assert [part.count for part in full.parts] == [3] and [part.count for part in few.parts] == [1]
    counts = [(maps_of == SKY).sum() for maps_of in arrays(full)["val"][1]]
    assert [count > 0 for count in counts] == [False, True, True]  # images 1, 3 and 5
    assert len(full.notes) == 1 and "chosen by the authors' rule" in full.notes[0] and FULL in full.notes[0]
    assert len(few.notes) == 1 and "not the images of the published list" in few.notes[0] and FEW in few.notes[0]


def test_the_rule_counts_pixels_of_the_judged_classes() -> None:
    rng = np.random.default_rng(0)
    judged = np.zeros(256, bool)
    judged[[SKY, SEA]] = True
    for share in np.linspace(0.7, 0.8, 11):
        values = np.where(rng.random((360, 361)) < share, rng.choice([SKY, SEA], (360, 361)), PERSON).astype(np.uint8)
        by_hand = sum(value in (SKY, SEA) for value in values.ravel().tolist()) / values.size >= 0.75
        assert meets_rule(values, judged) == by_hand
        assert not meets_rule(values[:359], judged)


def test_the_label_maps_of_the_cards_follow_the_hierarchy() -> None:
    covered = sorted(value for values in COARSE.values() for value in values)
    assert covered == list(range(182)) and len(VALUE_NAMES) == 182
    coarse = {value: index for index, values in enumerate(COARSE.values()) for value in values}
    cards = {name: datasets.card(name) for name in ("coco-stuff", "coco-stuff-3", "coco-stuff-27", "coco-stuff-171")}
    for value in range(182):
        assert cards["coco-stuff-27"]["label_map"][value] == coarse[value]
        assert cards["coco-stuff"]["label_map"][value] == max(coarse[value] - 12, -1)
        assert cards["coco-stuff-3"]["label_map"][value] == {23: 0, 22: 1, 21: 2}.get(coarse[value], -1)
    assert cards["coco-stuff-27"]["class_names"] == list(COARSE)
    assert cards["coco-stuff"]["class_names"] == [name.removesuffix(" stuff") for name in list(COARSE)[12:]]
    assert cards["coco-stuff-3"]["class_names"] == ["sky", "plant", "ground"]
    never = {"street sign", "hat", "shoe", "eye glasses", "plate", "mirror", "window", "desk", "door", "blender", "hair brush"}
    card = cards["coco-stuff-171"]
    assert {VALUE_NAMES[value] for value, label in enumerate(card["label_map"]) if label == -1} == never
    assert [label for label in card["label_map"] if label >= 0] == list(range(171))
    assert card["class_names"] == [name for name in VALUE_NAMES if name not in never]


def test_the_cards_agree_with_the_published_counts_and_windows() -> None:
    for name in ("coco-stuff", "coco-stuff-3", "coco-stuff-27", "coco-stuff-171"):
        card = datasets.card(name)
        assert card["images"] == sum(card["splits"].values()) == (36_660 if name == "coco-stuff-3" else 51_804)
        assert card["window"] == [128, 128] and card["shape"] == [3, 212, 212] and card["classes"] == len(card["class_names"])
        found = schemes(card, list(card["splits"]))
        assert found["full"].scored == found["full"].main == ("train", "val")
        assert found["split"].main == found["split"].mapping == ("train",) and found["split"].scored == ("val",)
    assert [datasets.card(name).get("store") for name in ("coco-stuff-27", "coco-stuff-171", "coco-stuff-3")] == [
        "coco-stuff", "coco-stuff", None,
    ]  # fmt: skip


def test_damage_is_one_line_each(tmp_path: Path) -> None:
    whole = write_folders(tmp_path / "whole")
    image, labels = f"images/train2017/{number(3)}.jpg", f"annotations/train2017/{number(3)}.png"

    def broken(name: str, path: str, content: bytes | None) -> str:
        shutil.copytree(whole, tmp_path / name)
        file = tmp_path / name / path
        file.unlink() if content is None else file.write_bytes(content)
        return the_error(tmp_path / name)

    sound = (whole / labels).read_bytes()
    assert f"{number(3)}.png is damaged or cut short" in broken("png", labels, sound[: len(sound) // 2])
    assert f"{number(3)}.jpg is damaged or cut short" in broken("jpg", image, b"no image at all")
    assert "holds the label 182; 0..181 and 255 are known" in broken("label", labels, png(np.full(SIZES[3], 182)))
    assert "48x64 pixels, its label map 10x10" in broken("size", labels, png(np.zeros((10, 10))))
    assert f"lacks the label map of 1 of 2 images, first {number(3)}" in broken("no label", labels, None)
    assert f"lacks the image of 1 of 2 images, first {number(3)}" in broken("no image", image, None)
    assert "which is no number of an image" in broken("list", f"curated/val2017/{FULL}.txt", b"../../secret\n")
    assert "lists an image twice" in broken("twice", f"curated/val2017/{FULL}.txt", f"{number(4)}\n{number(4)}\n".encode())
    Image.fromarray(np.zeros((*SIZES[3], 3), np.uint8)).save(tmp_path / "colours.png")
    assert "in mode RGB; one byte a pixel" in broken("colours", labels, (tmp_path / "colours.png").read_bytes())
    (whole / labels).write_bytes(png(np.zeros((10, 700))))
    assert "231x3 pixels do not fit" in broken("huge", image, jpeg(0, 10, 700))


def test_a_truncated_archive_is_one_line(tmp_path: Path) -> None:
    home = pack(write_folders(tmp_path / "plain"), tmp_path / "packed")
    content = (home / "train2017.zip").read_bytes()
    (home / "train2017.zip").write_bytes(content[: len(content) // 2])
    assert "train2017.zip is no archive, damaged or cut short" in the_error(home)


def test_a_changed_byte_in_an_archive_is_one_line(tmp_path: Path) -> None:
    home = pack(write_folders(tmp_path / "plain"), tmp_path / "packed")
    content = bytearray((home / "val2017.zip").read_bytes())
    content[300] ^= 255
    (home / "val2017.zip").write_bytes(content)
    assert "val2017.zip" in the_error(home) and "damaged" in the_error(home)


def test_a_download_lies_where_it_is_read_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = pack(write_folders(tmp_path / "plain"), tmp_path / "offered")
    fetched = {}

    def fetch(url: str, target: Path, *, md5: str | None = None, **rest: object) -> None:
        name = url.rpartition("/")[2]
        origin = offered / name if name.endswith(".zip") else tmp_path / "plain/curated" / url.split("/")[-2] / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(origin, target)
        fetched[name] = md5

    monkeypatch.setattr(downloads, "fetch", fetch)
    download_coco_stuff(tmp_path / "root", silent)
    assert fetched["train2017.zip"] == "cced6f7f71b7629ddf16f17bbcfab6b2" and set(fetched) == {
        "train2017.zip", "val2017.zip", LABELS_ZIP, f"{FULL}.txt",
    }  # fmt: skip
    source = read(tmp_path / "root")
    assert {part.split: part.count for part in source.parts} == {"train": 2, "val": 1} and source.notes == ()


def sample(shared_data: Path, name: str = "coco-stuff@sample") -> Source:
    source = read_segmentation_sample(name, shared_data, silent)
    assert source is not None
    return source


def test_the_real_sample_has_the_hierarchy_of_its_class_list(shared_data: Path) -> None:
    listed = json.loads((shared_data / "segmentation/coco_stuff/classes.json").read_text())["classes"]
    supercategory = {about["value"]: about["supercategory"] for about in listed if about["value"] < 182}
    assert tuple(about["name"] for about in listed if about["value"] < 182) == VALUE_NAMES
    names = [name.replace("raw material", "rawmaterial").replace(" ", "-") for name in COARSE]
    assert [names[label] for label in datasets.card("coco-stuff-27")["label_map"]] == [supercategory[n] for n in range(182)]


def test_the_real_sample_is_shrunk_and_framed_as_its_files_say(shared_data: Path) -> None:
    source = sample(shared_data)
    assert {part.split: part.count for part in source.parts} == {"train": 13, "val": 8} and len(source.notes) == 1
    for split, (images, labels, extents) in arrays(source).items():
        assert images.shape[1:] == (3, 212, 212) and labels.shape[1:] == (212, 212)
        folder = shared_data / "segmentation/coco_stuff" / split
        for row, path in enumerate(sorted((folder / "images").iterdir())):
            with Image.open(path) as opened, Image.open(folder / "labels" / f"{path.stem}.png") as maps:
                pixels, values = np.asarray(opened.convert("RGB")).astype(float), np.asarray(maps)
            height, width = round(0.33 * values.shape[0]), round(0.33 * values.shape[1])
            assert extents[row].tolist() == [max(height, 128), max(width, 128)]
            top, left = (int(extent) // 2 - side // 2 for extent, side in zip(extents[row], (height, width), strict=True))
            for channel, (y, x) in enumerate([(0, 0), (height // 2, width // 3), (height - 1, width - 1)]):
                v, u = (min((i + 0.5) / 0.33 - 0.5, side - 1) for i, side in ((y, values.shape[0]), (x, values.shape[1])))
                around = pixels[int(v) : int(v) + 2, int(u) : int(u) + 2, channel]
                assert around.min() - 1 <= images[row, channel, top + y, left + x] <= around.max()
                value = int(values[int(y / 0.33), int(x / 0.33)])
                assert labels[row, top + y, left + x] == (-1 if value == 255 else value)
            rows, columns = ((np.arange(side) / 0.33).astype(int) for side in (height, width))
            counts = np.bincount(values[rows][:, columns].ravel(), minlength=256)
            np.testing.assert_array_equal(np.bincount(labels[row][labels[row] >= 0], minlength=182), counts[:182])


def test_the_views_share_one_real_sample(shared_data: Path) -> None:
    stored = arrays(sample(shared_data))["val"][1]
    for name in ("coco-stuff-3", "coco-stuff-27@sample", "coco-stuff-171"):
        np.testing.assert_array_equal(arrays(sample(shared_data / "segmentation", name))["val"][1], stored)


def test_a_sample_that_lacks_a_label_map_is_one_line(shared_data: Path, tmp_path: Path) -> None:
    shutil.copytree(shared_data / "segmentation/coco_stuff/val", tmp_path / "segmentation/coco_stuff/val")
    (tmp_path / "segmentation/coco_stuff/val/labels/000000000139.png").unlink()
    with pytest.raises(DataError, match="has no label map 000000000139.png"):
        read_segmentation_sample("coco-stuff@sample", tmp_path, silent)
