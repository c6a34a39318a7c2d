import hashlib
import io
import tarfile

import numpy as np
import pytest
import scipy.io
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.datasets.imagenet import ARCHIVE_META
from torchvision.transforms import v2

from clusterbench.datasets.catalogue import datasets
from clusterbench.datasets.errors import DataError
from clusterbench.datasets.imagenet import DEVKIT, NOTE, TRAIN, VAL, read_imagenet
from clusterbench.datasets.source import silent
from clusterbench.datasets.synsets import SUBSETS

CLASSES = {"n01440764": 4, "n01601694": 2, "n01669191": 3}  # synset -> its number in the development kit, in another order
WORDS = {"n01440764": "tench, Tinca tinca", "n01601694": "water ouzel, dipper", "n01669191": "box turtle, box tortoise"}
TRUTH = [2, 4, 3, 4, 2, 3]


def jpeg(seed, mode="RGB"):
    """Photographs of various shapes; every fifth one is turned by its EXIF, which ImageNet's users ignore."""
    size = [(300, 260), (260, 400), (128, 96), (256, 256)][seed % 4]
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    stream, exif = io.BytesIO(), Image.Exif()
    if seed % 5 == 0:
        exif[0x0112] = 6
    Image.fromarray(noise).resize(size).convert(mode).save(stream, "JPEG", exif=exif)
    return stream.getvalue()


TRAIN_FILES = {
    synset: {f"{synset}_{index}.JPEG": jpeg(10 * place + index, "CMYK" if index == 2 else "RGB") for index in (10, 9, 2)}
    for place, synset in enumerate(CLASSES)
}
VAL_FILES = {f"ILSVRC2012_val_{index + 1:08d}.JPEG": jpeg(100 + index, "L" if index == 1 else "RGB") for index in range(6)}
VAL_CLASSES = {name: {number: synset for synset, number in CLASSES.items()}[TRUTH[place]] for place, name in enumerate(VAL_FILES)}


def tar(files, mode="w"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def development_kit():
    """`meta.mat` with the original's fields, among them a group of classes, and the numbers of the validation images."""
    fields = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height", "num_train_images"]
    rows = [(number, synset, WORDS[synset], "...", 0, [], 0, 3) for synset, number in CLASSES.items()]
    rows.append((1001, "n00001740", "entity", "...", 2, [2, 4], 19, 0))
    synsets = np.array([tuple(row) for row in rows], dtype=[(field, object) for field in fields])
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"synsets": synsets[:, None]})
    return {"meta.mat": stream.getvalue(), "ILSVRC2012_validation_ground_truth.txt": b"".join(b"%d\n" % n for n in TRUTH)}


@pytest.fixture
def trusted(monkeypatch):
    """A function that writes an archive, which from then on counts as the original one, for `imagenet` and its subsets."""

    def write(path, content):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        for name in ("imagenet", *SUBSETS):
            monkeypatch.setitem(datasets.card(name)["md5"], path.name, hashlib.md5(content).hexdigest())

    return write


@pytest.fixture
def archives(tmp_path, trusted):
    """A data root with the three original archives, small."""
    trusted(tmp_path / TRAIN, tar({f"{synset}.tar": tar(files) for synset, files in TRAIN_FILES.items()}))
    trusted(tmp_path / VAL, tar(dict(reversed(VAL_FILES.items()))))
    trusted(tmp_path / DEVKIT, tar({f"ILSVRC2012_devkit_t12/data/{k}": v for k, v in development_kit().items()}, "w:gz"))
    return tmp_path


@pytest.fixture
def folders(tmp_path):
    """torchvision's layout of the same images."""
    for synset, files in TRAIN_FILES.items():
        for name, content in files.items():
            put(tmp_path / "train" / synset / name, content)
    for name, content in VAL_FILES.items():
        put(tmp_path / "val" / VAL_CLASSES[name] / name, content)
    return tmp_path


@pytest.fixture
def two_classes(monkeypatch):
    """A subset of two of the three classes, as `imagenet-50`."""
    monkeypatch.setitem(SUBSETS, "imagenet-50", ("n01601694", "n01669191"))


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def arrays(part):
    chunks = list(part.chunks())
    return np.concatenate([chunk.images for chunk in chunks]), np.concatenate([chunk.labels for chunk in chunks])


def theirs(contents):
    """The pixels that torchvision's reader and transforms make of these files."""
    fit = v2.Compose([v2.Resize(256), v2.CenterCrop(256)])
    return np.stack([np.asarray(fit(Image.open(io.BytesIO(c)).convert("RGB"))).transpose(2, 0, 1) for c in contents])


def train_contents(synsets):
    return [TRAIN_FILES[synset][f"{synset}_{index}.JPEG"] for synset in synsets for index in (2, 9, 10)]


def val_contents(synsets):
    return [VAL_FILES[name] for synset in synsets for name in VAL_FILES if VAL_CLASSES[name] == synset]


@pytest.mark.parametrize("layout", ["archives", "folders"])
def test_both_layouts_give_torchvisions_pixels_class_by_class(layout, request):
    source = read_imagenet("imagenet", request.getfixturevalue(layout), silent)
    assert [(part.split, part.count) for part in source.parts] == [("train", 9), ("test", 6)]
    assert source.notes == (NOTE,)
    for part, contents, each in zip(source.parts, (train_contents(CLASSES), val_contents(CLASSES)), (3, 2), strict=True):
        images, labels = arrays(part)
        assert labels.tolist() == [0] * each + [1] * each + [2] * each
        assert np.array_equal(images, theirs(contents))


def test_labels_are_those_of_torchvisions_image_folder(folders):
    folder = ImageFolder(str(folders / "val"))
    source = read_imagenet("imagenet", folders, silent)
    assert arrays(source.parts[1])[1].tolist() == folder.targets
    assert source.class_names == tuple(folder.classes)


def test_classes_are_named_by_the_development_kit(archives):
    assert read_imagenet("imagenet", archives, silent).class_names == ("tench", "water ouzel", "box turtle")


def test_unpacked_development_kit_serves_as_well(archives):
    (archives / DEVKIT).unlink()
    for name, content in development_kit().items():
        put(archives / "ILSVRC2012_devkit_t12" / "data" / name, content)
    source = read_imagenet("imagenet", archives, silent)
    assert source.class_names[0] == "tench" and arrays(source.parts[1])[1].tolist() == [0, 0, 1, 1, 2, 2]


def test_whole_archives_are_verified_and_folders_are_not(archives, folders):
    (folders / "val").rename(folders / "elsewhere")
    source = read_imagenet("imagenet", archives, silent)
    assert [(part.split, part.verified) for part in source.parts] == [("train", False), ("test", True)]
    assert source.files == {VAL: datasets.card("imagenet")["md5"][VAL].join(["md5:", ""])}


@pytest.mark.usefixtures("two_classes")
@pytest.mark.parametrize("layout", ["archives", "folders"])
def test_subset_has_its_classes_only(layout, request):
    source = read_imagenet("imagenet-50", request.getfixturevalue(layout), silent)
    synsets = ["n01601694", "n01669191"]
    assert [(part.split, part.count, part.verified) for part in source.parts] == [("train", 6, False), ("test", 4, False)]
    assert source.files == {}
    images, labels = arrays(source.parts[0])
    assert labels.tolist() == [0, 0, 0, 1, 1, 1] and np.array_equal(images, theirs(train_contents(synsets)))
    images, labels = arrays(source.parts[1])
    assert labels.tolist() == [0, 0, 1, 1] and np.array_equal(images, theirs(val_contents(synsets)))


@pytest.mark.usefixtures("two_classes")
def test_subset_does_not_read_the_files_of_other_classes(folders, trusted):
    for path in (*(folders / "train/n01440764").iterdir(), *(folders / "val/n01440764").iterdir()):
        path.write_bytes(b"spoilt")
    (folders / "val").rename(folders / "kept")
    assert arrays(read_imagenet("imagenet-50", folders, silent).parts[0])[1].tolist() == [0, 0, 0, 1, 1, 1]

    spoilt = {f"{synset}.tar": tar(files) for synset, files in TRAIN_FILES.items()} | {"n01440764.tar": b"spoilt" * 300}
    (folders / "train").rename(folders / "kept too")
    put(folders / TRAIN, tar(spoilt))
    assert arrays(read_imagenet("imagenet-50", folders, silent).parts[0])[1].tolist() == [0, 0, 0, 1, 1, 1]
    trusted(folders / TRAIN, tar(spoilt))
    with pytest.raises(DataError, match=r"ILSVRC2012_img_train\.tar: n01440764\.tar is no archive, damaged or cut short"):
        read_imagenet("imagenet", folders, silent)


def test_archive_may_be_given_itself_and_a_folder_imagenet_be_in_the_root(archives, folders, tmp_path):
    assert read_imagenet("imagenet", archives / TRAIN, silent).where == archives
    root = tmp_path / "root"
    root.mkdir()
    (folders / "train").rename(root / "train")
    assert read_imagenet("imagenet", root, silent).where == root
    (root / "imagenet").mkdir()
    (root / "train").rename(root / "imagenet" / "train")
    assert read_imagenet("imagenet", root, silent).where == root / "imagenet"


def test_folders_of_other_data_sets_are_not_taken_for_it(tmp_path):
    put(tmp_path / "train/n01440764/images/n01440764_0.JPEG", jpeg(1))  # Tiny ImageNet
    put(tmp_path / "other/train/cat/1.jpg", jpeg(1))
    put(tmp_path / "file.tar", b"")
    for path in (tmp_path, tmp_path / "other", tmp_path / "file.tar"):
        assert read_imagenet("imagenet", path, silent) is None
        assert read_imagenet("imagenet-50", path, silent) is None


@pytest.mark.usefixtures("two_classes")
def test_missing_split_is_left_out_and_missing_class_is_one_line(folders):
    (folders / "val").rename(folders / "elsewhere")
    assert [part.split for part in read_imagenet("imagenet", folders, silent).parts] == ["train"]
    for path in (folders / "train/n01669191").iterdir():
        path.unlink()
    for name in ("imagenet", "imagenet-50"):
        with pytest.raises(DataError, match=rf"train has no images of n01669191, one of 1 classes of {name} it lacks") as error:
            read_imagenet(name, folders, silent)
        assert "\n" not in str(error.value)


def test_split_that_lacks_a_class_of_the_other_is_one_line(folders):
    (folders / "val/n01669191").rename(folders / "elsewhere")
    with pytest.raises(DataError, match="val has no images of n01669191"):
        read_imagenet("imagenet", folders, silent)


def test_validation_archive_needs_the_development_kit(archives):
    (archives / DEVKIT).unlink()
    with pytest.raises(DataError, match=rf"{VAL} does not tell the classes of its images: {DEVKIT} does"):
        read_imagenet("imagenet", archives, silent)


@pytest.mark.usefixtures("two_classes")
def test_damage_is_one_line(archives, trusted):
    def read_all(name):
        return [arrays(part) for part in read_imagenet(name, archives, silent).parts]

    def fails(match, name="imagenet-50"):
        with pytest.raises(DataError, match=match) as error:
            read_all(name)
        assert "\n" not in str(error.value)

    whole = (archives / TRAIN).read_bytes()
    (archives / TRAIN).write_bytes(whole[: len(whole) // 2])
    fails("is not the original file", "imagenet")
    fails(r"ILSVRC2012_img_train\.tar is no archive, damaged or cut short")
    image = TRAIN_FILES["n01601694"]["n01601694_9.JPEG"]
    (archives / TRAIN).write_bytes(whole.replace(image, image[:50] + bytes(len(image) - 50)))
    fails(r"img_train\.tar: n01601694\.tar: n01601694_9\.JPEG is (damaged|no image)")
    (archives / TRAIN).write_bytes(whole)
    (archives / VAL).write_bytes(tar(VAL_FILES | {"ILSVRC2012_val_00000007.JPEG": b""}))
    fails(rf"holds ILSVRC2012_val_00000007\.JPEG, of which {DEVKIT} does not tell the class")
    trusted(archives / DEVKIT, tar({"d/data/meta.mat": b"text", "d/data/ILSVRC2012_validation_ground_truth.txt": b"1"}, "w:gz"))
    fails(rf"{DEVKIT} cannot be understood")
    (archives / DEVKIT).write_bytes(b"another")
    fails(rf"{DEVKIT} is not the original file")


def test_development_kit_with_numbers_of_no_class_is_refused(archives, trusted):
    kit = development_kit() | {"ILSVRC2012_validation_ground_truth.txt": b"2\n1001\n"}
    trusted(archives / DEVKIT, tar({f"d/data/{name}": content for name, content in kit.items()}, "w:gz"))
    with pytest.raises(DataError, match="no class has the number 1001"):
        read_imagenet("imagenet", archives, silent)


def test_checksums_on_the_cards_are_torchvisions():
    for name in ("imagenet", *SUBSETS):
        assert datasets.card(name)["md5"] == dict(ARCHIVE_META.values())


def test_subsets_are_nested_sorted_and_of_their_size():
    fifty, hundred, two_hundred = (SUBSETS[f"imagenet-{count}"] for count in (50, 100, 200))
    assert set(fifty) < set(hundred) < set(two_hundred)
    for name, synsets in SUBSETS.items():
        card = datasets.card(name)
        assert list(synsets) == sorted(set(synsets)) and len(synsets) == card["classes"] == int(name.split("-")[1])
        assert card["splits"]["test"] == 50 * len(synsets) and sum(card["splits"].values()) == card["images"]
        assert 732 * len(synsets) <= card["splits"]["train"] <= 1300 * len(synsets)  # images in the smallest and largest class


def test_every_layout_on_the_cards_names_a_class_that_all_subsets_have():
    for name in ("imagenet", *SUBSETS):
        synsets = [
            part for layout in datasets.card(name)["layouts"] for path in layout for part in path.split("/") if part[0] == "n"
        ]
        assert synsets and set(synsets) <= set(SUBSETS["imagenet-50"])
