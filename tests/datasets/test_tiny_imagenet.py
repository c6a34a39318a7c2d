import hashlib
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from clusterbench.datasets import tiny_imagenet
from clusterbench.datasets.catalogue import datasets
from clusterbench.datasets.errors import DataError
from clusterbench.datasets.source import silent
from clusterbench.datasets.synsets import distinct_names
from clusterbench.datasets.tiny_imagenet import ARCHIVE, read_tiny_imagenet

SYNSETS = ["n03000000", "n01000000", "n02000000"]  # the original's list is not sorted either
WORDS = "n00000001\tentity\nn01000000\tgoldfish, Carassius auratus\nn02000000\tcrane\nn03000000\tcrane\n"


def jpeg(seed, mode="RGB", size=64):
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).resize((size, size)).convert(mode).save(stream, "JPEG")
    return stream.getvalue()


def original():
    """The files of a small copy in the original layout: 12 images of each class in train, 5 in val."""
    files = {"wnids.txt": "\n".join(SYNSETS).encode(), "words.txt": WORDS.encode()}
    for synset in SYNSETS:
        files[f"train/{synset}/{synset}_boxes.txt"] = b"n_0.JPEG\t0\t0\t1\t1\n"
        for index in range(12):
            mode = "L" if index == 3 else "RGB"
            files[f"train/{synset}/images/{synset}_{index}.JPEG"] = jpeg(SYNSETS.index(synset) * 100 + index, mode)
    lines = []
    for index in range(15):
        files[f"val/images/val_{index}.JPEG"] = jpeg(1000 + index)
        lines.append(f"val_{index}.JPEG\t{SYNSETS[index % 3]}\t0\t32\t44\t62\n")
    files["val/val_annotations.txt"] = "".join(lines).encode()
    files["test/images/test_0.JPEG"] = jpeg(5)
    return files


def as_folder(files, root):
    for name, content in files.items():
        path = root / "tiny-imagenet-200" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def as_archive(files, root, monkeypatch):
    """The archive, which from now on counts as the original one."""
    with zipfile.ZipFile(root / ARCHIVE, "w") as archive:
        archive.writestr("tiny-imagenet-200/", b"")
        for name, content in files.items():
            archive.writestr(f"tiny-imagenet-200/{name}", content)
    trust(root, monkeypatch)
    return root


def trust(root, monkeypatch):
    digest = hashlib.md5((root / ARCHIVE).read_bytes()).hexdigest()
    monkeypatch.setitem(datasets.card("tiny-imagenet")["md5"], ARCHIVE, digest)


@pytest.fixture(params=["folder", "archive"])
def laid_out(request, tmp_path, monkeypatch):
    """A function that lays files out in a data root, as a folder or as the archive."""
    return lambda files: as_folder(files, tmp_path) if request.param == "folder" else as_archive(files, tmp_path, monkeypatch)


def arrays(part):
    chunks = list(part.chunks())
    return np.concatenate([chunk.images for chunk in chunks]), np.concatenate([chunk.labels for chunk in chunks])


def pillow(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).transpose(2, 0, 1)


def test_both_splits_come_with_pixels_and_labels_of_the_original(laid_out):
    files = original()
    source = read_tiny_imagenet(laid_out(files), silent)
    assert [(part.split, part.count) for part in source.parts] == [("train", 36), ("test", 15)]
    assert source.class_names == ("goldfish", "crane (n02000000)", "crane (n03000000)")

    images, labels = arrays(source.parts[0])
    assert images.shape == (36, 3, 64, 64) and labels.tolist() == [0] * 12 + [1] * 12 + [2] * 12
    names = [f"train/{synset}/images/{synset}_{index}.JPEG" for synset in sorted(SYNSETS) for index in range(12)]
    assert np.array_equal(images, np.stack([pillow(files[name]) for name in names]))
    assert (images[3, 0] == images[3, 1]).all() and (images[3, 0] == images[3, 2]).all()  # the grey one

    images, labels = arrays(source.parts[1])
    assert labels.tolist() == [sorted(SYNSETS).index(SYNSETS[index % 3]) for index in range(15)]
    assert np.array_equal(images, np.stack([pillow(files[f"val/images/val_{index}.JPEG"]) for index in range(15)]))


def test_only_the_archive_counts_as_verified(tmp_path, monkeypatch):
    folder = read_tiny_imagenet(as_folder(original(), tmp_path), silent)
    assert not any(part.verified for part in folder.parts) and folder.files == {}
    archive = read_tiny_imagenet(as_archive(original(), tmp_path, monkeypatch), silent)
    assert archive.where == tmp_path / ARCHIVE  # taken where both are there
    assert all(part.verified for part in archive.parts)
    assert archive.files == {ARCHIVE: "md5:" + hashlib.md5((tmp_path / ARCHIVE).read_bytes()).hexdigest()}


def test_archive_and_folder_may_be_given_themselves(tmp_path, monkeypatch):
    as_folder(original(), tmp_path / "a")
    assert read_tiny_imagenet(tmp_path / "a" / "tiny-imagenet-200", silent).parts[0].count == 36
    (tmp_path / "b").mkdir()
    as_archive(original(), tmp_path / "b", monkeypatch)
    assert read_tiny_imagenet(tmp_path / "b" / ARCHIVE, silent).parts[0].count == 36


def test_folder_without_it_is_not_its_own(tmp_path):
    (tmp_path / "train" / "n01000000").mkdir(parents=True)
    assert read_tiny_imagenet(tmp_path, silent) is None


def test_splits_that_are_not_there_are_left_out(laid_out):
    files = {name: content for name, content in original().items() if not name.startswith("val/")}
    assert [part.split for part in read_tiny_imagenet(laid_out(files), silent).parts] == ["train"]


def test_synsets_serve_as_names_where_there_are_no_words(laid_out):
    files = {name: content for name, content in original().items() if name != "words.txt"}
    assert read_tiny_imagenet(laid_out(files), silent).class_names == tuple(sorted(SYNSETS))


def read_all(root):
    return [arrays(part) for part in read_tiny_imagenet(root, silent).parts]


def fails(root, match):
    with pytest.raises(DataError, match=match) as error:
        read_all(root)
    assert "\n" not in str(error.value)


def test_archive_that_is_cut_short_is_told_by_its_checksum(tmp_path, monkeypatch):
    as_archive(original(), tmp_path, monkeypatch)
    whole = (tmp_path / ARCHIVE).read_bytes()
    (tmp_path / ARCHIVE).write_bytes(whole[:-1000])
    fails(tmp_path, r"tiny-imagenet-200\.zip is not the original file")
    trust(tmp_path, monkeypatch)
    fails(tmp_path, r"tiny-imagenet-200\.zip is .*damaged or cut short")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"val/val_annotations.txt": None}, "lacks val/val_annotations.txt"),
        ({"val/images/val_3.JPEG": None}, "lacks val/images/val_3.JPEG and 0 more images"),
        ({"val/val_annotations.txt": b"val_0.JPEG\tn09999999\t0\t0\n"}, "line without image and known class, 'val_0.JPEG'"),
        ({"val/val_annotations.txt": b"val_0.JPEG\n"}, "line without image and known class"),
        ({"train/n01000000/images/n01000000_5.JPEG": jpeg(1)[:400]}, r"n01000000_5\.JPEG is damaged or cut short"),
        ({"val/images/val_3.JPEG": b"text"}, r"val_3\.JPEG is no image"),
        ({"val/images/val_3.JPEG": jpeg(1, size=63)}, r"val_3\.JPEG is 63x63 pixels where 64x64 are expected"),
        ({f"train/n01000000/images/n01000000_{i}.JPEG": None for i in range(12)}, "no images of n01000000 in train"),
        ({"train/n09999999/images/n09999999_0.JPEG": jpeg(1)}, "no images of n09999999 in train, or it is not in wnids.txt"),
    ],
)
def test_damage_is_one_line(laid_out, change, match):
    files = {name: content for name, content in (original() | change).items() if content is not None}
    fails(laid_out(files), match)


def test_names_of_synsets_are_short_and_distinct():
    words = {"n1": "crane", "n2": "crane", "n3": "maillot", "n4": "maillot, tank suit", "n5": "goldfish, Carassius auratus"}
    names = distinct_names(["n1", "n2", "n3", "n4", "n5", "n6"], words)
    assert names == ("crane (n1)", "crane (n2)", "maillot (n3)", "maillot (n4)", "goldfish", "n6")


def test_download_asks_for_the_original_archive(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(tiny_imagenet, "fetch", lambda url, target, **expected: asked.append((url, target, expected)))
    datasets.get("tiny-imagenet").download(tmp_path, silent)
    [(url, target, expected)] = asked
    assert url.startswith("http") and target == tmp_path / ARCHIVE
    assert expected["size"] == 248_100_043 and expected["md5"] == "90528d7ca1a48142e341f4ef8d21d0de"
