import gzip
import io
import stat
import struct
import tarfile
import zipfile

import pytest

from clusterbench.datasets.errors import DataError
from clusterbench.datasets.files import archives
from clusterbench.datasets.files.archives import Limits, members, open_archive, unpack

FILES = {"a.txt": b"one", "folder/b.bin": bytes(range(256)) * 40, "folder/inner/c": b""}
TARS = {"x.tar": "w", "x.tar.gz": "w:gz", "x.tar.bz2": "w:bz2", "x.tar.xz": "w:xz"}


def tar_bytes(entries, mode="w"):
    """A tar of (TarInfo or name, content) pairs."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for entry, content in entries:
            info = entry if isinstance(entry, tarfile.TarInfo) else tarfile.TarInfo(entry)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def zip_bytes(entries):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in entries:
            archive.writestr(entry, content)
    return stream.getvalue()


def written(tmp_path, content, name="x.archive"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_special(name, kind):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    return info


def refused(path, tmp_path, match, limit_bytes=1 << 40):
    """Assert that reading and unpacking refuse the archive, in one line, and leave nothing behind."""
    before = sorted(tmp_path.rglob("*"))
    for use in (
        lambda: list(members(path, limits=Limits(total_bytes=limit_bytes))),
        lambda: unpack(path, tmp_path / "out", limit_bytes=limit_bytes),
    ):
        with pytest.raises(DataError, match=match) as error:
            use()
        assert "\n" not in str(error.value) and str(error.value).startswith(str(path))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture(params=[*TARS, "x.zip"])
def sound(request, tmp_path):
    make = zip_bytes(FILES.items()) if request.param == "x.zip" else tar_bytes(FILES.items(), TARS[request.param])
    return written(tmp_path, make, "some.download")  # told by its content


def test_members_come_in_order_with_their_contents(sound):
    assert list(members(sound)) == list(FILES.items())


def test_only_wanted_members_are_read(sound):
    assert list(members(sound, lambda name: name.startswith("folder/b"))) == [("folder/b.bin", FILES["folder/b.bin"])]


def test_members_are_read_in_any_order_after_they_were_listed(sound):
    with open_archive(sound) as archive:
        listed = list(archive)
        assert [(member.name, member.size) for member in listed] == [(name, len(FILES[name])) for name in FILES]
        assert [archive.read(member) for member in reversed(listed)] == list(reversed(FILES.values()))


def test_unpacked_files_are_those_of_the_archive(sound, tmp_path):
    told = []
    unpack(sound, tmp_path / "new" / "out", limit_bytes=20_000, progress=lambda *news: told.append(news))
    found = {str(path.relative_to(tmp_path / "new/out")): path for path in (tmp_path / "new/out").rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in found.items()} == FILES
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]
    assert stat.S_IMODE((tmp_path / "new/out").stat().st_mode) == stat.S_IMODE((tmp_path / "new").stat().st_mode)
    assert told[-1][2] == sound.stat().st_size and told[-1][1] <= told[-1][2]


def test_archive_in_an_archive_is_read_where_it_lies(tmp_path):
    path = written(tmp_path, tar_bytes([("first", b"x" * 700), ("inner.tar", tar_bytes(FILES.items()))]))
    with open_archive(path) as outer:
        inner = {member.name: member for member in outer}["inner.tar"]
        with outer.open(inner) as stream, open_archive(stream, label="inner") as archive:
            found = list(archive)
            assert {member.name: archive.read(member) for member in found} == FILES


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "..", "C:/evil", "a\\..\\evil"])
@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
def test_path_outside_is_refused(name, make, tmp_path):
    path = written(tmp_path, make([("fine", b"1"), (name, b"2")]))
    refused(path, tmp_path, "not safe to open.*points out of the folder")


@pytest.mark.parametrize(
    "info",
    [
        special("link", tarfile.SYMTYPE, "/etc/passwd"),
        special("link", tarfile.SYMTYPE, "fine"),
        special("link", tarfile.LNKTYPE, "fine"),
        special("null", tarfile.CHRTYPE),
        special("disk", tarfile.BLKTYPE),
        special("pipe", tarfile.FIFOTYPE),
    ],
)
def test_link_or_device_in_a_tar_is_refused(info, tmp_path):
    refused(written(tmp_path, tar_bytes([("fine", b"1"), (info, b"")])), tmp_path, "link, a device")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_link_or_device_in_a_zip_is_refused(kind, tmp_path):
    refused(written(tmp_path, zip_bytes([(zip_special("x", kind), b"/etc/passwd")])), tmp_path, "link or a device")


def test_tar_of_a_folder_link_and_a_file_behind_it_writes_nothing_outside(tmp_path):
    (tmp_path / "victim").mkdir()
    link = special("door", tarfile.SYMTYPE, str(tmp_path / "victim"))
    refused(written(tmp_path, tar_bytes([(link, b""), ("door/evil", b"x")])), tmp_path, "link")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
@pytest.mark.parametrize("names", [("a", "a"), ("a", "./a"), ("a", "a/b"), ("a/b", "a")])
def test_two_members_of_one_name_are_refused(make, names, tmp_path):
    refused(written(tmp_path, make([(name, b"1") for name in names])), tmp_path, "collides")


@pytest.mark.parametrize("make", [lambda files: tar_bytes(files, "w:gz"), zip_bytes])
def test_bomb_is_refused_by_its_amount_its_ratio_and_its_number_of_members(make, tmp_path):
    bomb = written(tmp_path, make([("zeros", bytes(3_000_000)), ("more", bytes(3_000_000))]))
    assert bomb.stat().st_size < 20_000
    refused(bomb, tmp_path, "unpacks to more than 4,000,000 bytes", 4_000_000)
    with pytest.raises(DataError, match="unpack to more than 250 times as many"):
        list(members(bomb, limits=Limits(harmless=1_000_000)))
    with pytest.raises(DataError, match="more than 1 members"):
        list(members(bomb, limits=Limits(members=1)))
    assert len(list(members(bomb))) == 2  # within the usual limits


def test_member_too_large_for_the_memory_is_not_read(tmp_path):
    path = written(tmp_path, zip_bytes([("zeros", bytes(5000))]))
    with pytest.raises(DataError, match="too many for the memory"):
        list(members(path, limits=Limits(in_memory=4999)))


def test_zip_that_says_less_than_it_holds_gives_no_more_than_it_says(tmp_path):
    content = bytearray(zip_bytes([("zeros", bytes(100_000))]))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", content, content.index(signature) + offset, 10)
    refused(written(tmp_path, bytes(content)), tmp_path, "damaged")


def test_tar_header_of_a_gigabyte_is_not_read_into_memory(tmp_path):
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    path = written(tmp_path, gzip.compress(tar_bytes([("fine", b"1")])[:1024] + header.tobuf() + bytes(1 << 21)))
    refused(path, tmp_path, "a header of 1,073,741,824 bytes")


def test_garbage_behind_the_end_of_a_packed_tar_counts_against_the_limits(tmp_path):
    path = written(tmp_path, gzip.compress(tar_bytes([("fine", b"1")]) + bytes(9_000_000)))
    refused(path, tmp_path, "unpacks to more than", 5_000_000)


def cuts(name):
    """Ways to shorten or spoil an archive of two members, by name."""
    entries = [("a", bytes(range(256)) * 20), ("b", b"xy" * 3000)]
    whole = zip_bytes(entries) if name == "zip" else tar_bytes(entries, f"w:{name}" if name != "tar" else "w")
    if name == "tar":
        spoilt = bytearray(whole)
        spoilt[512 + 5120 + 100] ^= 1  # in the header of b
        return {"in the last member": whole[:7000], "between members": whole[: 512 + 5120], "a header": bytes(spoilt)}
    middle = bytearray(whole)
    middle[len(whole) // 2] ^= 0xFF
    return {"half": whole[: len(whole) // 2], "the end": whole[:-6], "a byte": bytes(middle), "the head": whole[:5]}


@pytest.mark.parametrize(("kind", "how"), [(kind, how) for kind in ("tar", "gz", "bz2", "xz", "zip") for how in cuts(kind)])
def test_shortened_or_spoilt_archive_is_one_line_and_leaves_nothing(kind, how, tmp_path):
    refused(written(tmp_path, cuts(kind)[how]), tmp_path, "damaged or cut short.*Fetch it again")


def test_zip_member_with_a_wrong_checksum_is_refused(tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a", b"hello hello")
    refused(written(tmp_path, stream.getvalue().replace(b"hello hello", b"hallo hello", 1)), tmp_path, "Bad CRC-32")


def test_locked_zip_is_refused(tmp_path):
    content = bytearray(zip_bytes([("a", b"1")]))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    refused(written(tmp_path, bytes(content)), tmp_path, "password")


@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>", b"\x1f\x8b only"])
def test_what_is_no_archive_is_one_line(content, tmp_path):
    refused(written(tmp_path, content), tmp_path, "no archive, damaged or cut short")


def test_missing_archive_is_one_line(tmp_path):
    refused(tmp_path / "absent.tar", tmp_path, "cannot be read .No such file")


def test_folder_that_is_there_is_not_touched(sound, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("precious")
    with pytest.raises(DataError, match=r"out cannot be written \(it is there already\)"):
        unpack(sound, tmp_path / "out", limit_bytes=1 << 30)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_interrupted_unpacking_leaves_nothing(sound, tmp_path, monkeypatch, failure):
    def copy(archive, member, packed, file):
        file.write(b"half of")
        if member.name == "folder/b.bin":
            raise failure

    monkeypatch.setattr(archives, "_copy", copy)
    expected, match = (KeyboardInterrupt, None) if isinstance(failure, KeyboardInterrupt) else (DataError, "No space.*Make room")
    with pytest.raises(expected, match=match):
        unpack(sound, tmp_path / "out", limit_bytes=1 << 30)
    assert list(tmp_path.iterdir()) == [sound]
