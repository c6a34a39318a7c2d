import io
import os
import threading

import numpy as np
import pytest
from PIL import Image, ImageDraw
from torchvision.transforms import v2

from clusterbench.datasets.errors import DataError
from clusterbench.datasets.files.decoding import (
    Decoder,
    Encoded,
    conversion_notes,
    decode_all,
    labelled_chunks,
    probe,
    probe_all,
)


def picture(width=40, height=30, mode="RGB", seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height // 5 + 1, width // 5 + 1, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encoded(image, name="x.png", format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return Encoded(name, stream.getvalue())


def hwc(array):
    return array.transpose(1, 2, 0)


def one_line(error):
    return "\n" not in str(error.value)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "CMYK", "YCbCr"])
def test_each_colour_mode_becomes_what_pillow_makes_of_it(mode):
    image = picture(mode=mode)
    format = "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"
    file = encoded(image, format=format)
    stored = Image.open(io.BytesIO(file.content))
    assert stored.mode == mode
    assert np.array_equal(hwc(Decoder((3, 30, 40)).decode(file)), np.asarray(stored.convert("RGB")))
    if mode not in ("P", "CMYK"):  # Pillow takes these to grey by another way than over RGB
        assert np.array_equal(Decoder((1, 30, 40)).decode(file)[0], np.asarray(stored.convert("L")))


def test_palette_and_cmyk_become_the_grey_of_their_colours():
    image = picture(mode="P")
    assert np.array_equal(Decoder((1, 30, 40)).decode(encoded(image))[0], np.asarray(image.convert("RGB").convert("L")))


def test_one_bit_becomes_black_and_white():
    image = Image.fromarray(np.array([[True, False]]))
    assert Decoder((1, 1, 2)).decode(encoded(image)).tolist() == [[[255, 0]]]


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_over_its_whole_range_and_not_clipped(format):
    values = np.array([[0, 128, 129, 257, 32768, 65278, 65535]], np.uint16)
    decoded = Decoder((1, 1, 7)).decode(encoded(Image.fromarray(values), format=format))
    assert decoded[0, 0].tolist() == [round(int(value) / 257) for value in values[0]] == [0, 0, 1, 1, 128, 254, 255]


def test_floating_point_pixels_are_refused_because_their_range_is_unknown():
    with pytest.raises(DataError, match=r"^a\.tif has 'F' pixels") as error:
        Decoder((1, 2, 2)).decode(encoded(Image.fromarray(np.full((2, 2), 0.5, np.float32)), "a.tif", "TIFF"))
    assert one_line(error)


def test_transparent_pixels_lie_on_white():
    pixels = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [200, 0, 0, 51]]], np.uint8)  # opaque, clear, a fifth
    decoded = hwc(Decoder((3, 1, 3)).decode(encoded(Image.fromarray(pixels))))
    assert decoded[0].tolist() == [[200, 0, 0], [255, 255, 255], [244, 204, 204]]


def test_transparent_palette_colour_lies_on_white():
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    decoded = hwc(Decoder((3, 1, 2)).decode(encoded(image, transparency=0)))
    assert decoded[0].tolist() == [[255, 255, 255], [40, 50, 60]]


def test_first_frame_of_an_animation_is_used_and_noted():
    frames = [picture(seed=seed, mode="P") for seed in range(3)]
    file = encoded(frames[0], "a.gif", "GIF", save_all=True, append_images=frames[1:])
    assert np.array_equal(hwc(Decoder((3, 30, 40)).decode(file)), np.asarray(frames[0].convert("RGB")))
    assert conversion_notes([probe(file)], 3) == ("1 of 1 images animated or of several pages: the first frame is used",)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_exif_orientation_turns_the_image_as_pillow_does(orientation, format):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    file = encoded(picture(), format=format, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file.content))).convert("RGB"))
    header = probe(file)
    assert (header.height, header.width) == expected.shape[:2]
    assert np.array_equal(hwc(Decoder((3, *expected.shape[:2])).decode(file)), expected)


def test_orientation_is_left_alone_on_demand_as_torchvision_leaves_it():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = picture()
    assert np.array_equal(hwc(Decoder((3, 30, 40), orient=False).decode(encoded(image, exif=exif))), np.asarray(image))


@pytest.mark.parametrize("size", [(40, 30), (31, 57), (16, 16), (9, 12), (16, 40), (300, 21), (33, 32)])
@pytest.mark.parametrize("side", [16, 15])
def test_crop_gives_the_pixels_of_torchvision(size, side):
    image = picture(*size)
    theirs = v2.Compose([v2.Resize(side), v2.CenterCrop(side)])(image)
    ours = Decoder((3, side, side), fit="crop").decode(encoded(image))
    assert np.array_equal(hwc(ours), np.asarray(theirs))


@pytest.mark.parametrize("size", [(40, 30), (31, 57), (24, 12), (10, 50)])
def test_crop_covers_a_frame_that_is_no_square(size):
    image = picture(*size)
    scale = max(24 / size[0], 12 / size[1])
    wide = image.resize((max(24, int(size[0] * scale)), max(12, int(size[1] * scale))), Image.Resampling.BILINEAR)
    expected = v2.CenterCrop((12, 24))(wide)
    assert np.array_equal(hwc(Decoder((3, 12, 24), fit="crop").decode(encoded(image))), np.asarray(expected))


def test_grey_images_are_fitted_after_their_colours_are_converted():
    image = picture(mode="L")
    theirs = v2.Compose([v2.Resize(16), v2.CenterCrop(16)])(image.convert("RGB"))
    assert np.array_equal(hwc(Decoder((3, 16, 16), fit="crop").decode(encoded(image))), np.asarray(theirs))


def test_jpeg_that_is_little_too_large_is_decoded_as_torchvision_does():
    file = encoded(picture(90, 85), "x.jpg", "JPEG")
    theirs = v2.Compose([v2.Resize(16), v2.CenterCrop(16)])(Image.open(io.BytesIO(file.content)))
    assert np.array_equal(hwc(Decoder((3, 16, 16), fit="crop").decode(file)), np.asarray(theirs))


def test_jpeg_that_is_far_too_large_is_decoded_small_to_nearly_the_same():
    file = encoded(picture(800, 640), "x.jpg", "JPEG", quality=95)
    theirs = v2.Compose([v2.Resize(16), v2.CenterCrop(16)])(Image.open(io.BytesIO(file.content)))
    ours = hwc(Decoder((3, 16, 16), fit="crop").decode(file)).astype(int)
    assert np.abs(ours - np.asarray(theirs)).max() <= 3


def test_thin_image_does_not_fill_the_memory():
    image = Image.new("L", (100_000, 1), 7)
    ImageDraw.Draw(image).point([(50_000, 0)], 7)
    assert (Decoder((1, 256, 256), fit="crop").decode(encoded(image)) == 7).all()  # fitted as a whole: 6.5 thousand million


def test_image_of_another_size_is_an_error_where_sizes_must_agree():
    with pytest.raises(DataError, match=r"^a\.png is 40x30 pixels where 32x32 are expected"):
        Decoder((3, 32, 32)).decode(encoded(picture(), "a.png"))


def test_decoder_refuses_a_shape_that_no_image_file_has():
    with pytest.raises(ValueError, match="1 or 3"):
        Decoder((4, 32, 32))


def damaged_files():
    whole = encoded(picture(), "x.jpg", "JPEG").content
    png = encoded(picture()).content
    return {
        "truncated JPEG": whole[: len(whole) // 2],
        "truncated PNG": png[: len(png) // 2],
        "spoilt PNG": png[:60] + b"\0" * 20 + png[80:],
        "text": b"this is no image",
        "empty": b"",
        "head only": whole[:4],
    }


@pytest.mark.parametrize("damage", damaged_files())
def test_damaged_image_is_one_line_with_its_path(damage, tmp_path):
    path = tmp_path / "bad.jpg"
    path.write_bytes(damaged_files()[damage])
    with pytest.raises(DataError, match=r"bad\.jpg is (damaged|no image).*Remove it") as error:
        Decoder((3, 30, 40)).decode(path)
    assert one_line(error) and str(error.value).startswith(str(path))


def test_text_is_called_no_image_by_the_probe():
    with pytest.raises(DataError, match="no image in a format"):
        probe(Encoded("notes.txt", b"this is no image"))


@pytest.mark.parametrize("look", [probe, Decoder((1, 64, 64), fit="crop").decode])
def test_huge_image_is_refused_before_it_is_decoded(look, monkeypatch):
    bomb = encoded(Image.new("1", (20_000, 20_000)), "bomb.png")
    assert len(bomb.content) < 100_000
    with pytest.raises(DataError, match=r"^bomb\.png has more than 89,478,485 pixels.*Shrink it") as error:
        look(bomb)
    assert one_line(error)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match="more than 1,000 pixels"):
        look(encoded(picture(40, 30)))  # between once and twice the limit, where Pillow only warns


@pytest.mark.parametrize("look", [probe, Decoder((3, 30, 40)).decode])
def test_missing_folder_pipe_and_unreadable_file_are_one_line(look, tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "absent.png", tmp_path, tmp_path / "pipe.png"):
        with pytest.raises(DataError, match="is missing or is no file") as error:
            look(path)
        assert one_line(error) and str(path) in str(error.value)

    path = tmp_path / "secret.png"
    path.write_bytes(encoded(picture()).content)

    def forbidden(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", forbidden)  # chmod does not keep the superuser out
    with pytest.raises(DataError, match=r"secret\.png cannot be read \(Permission denied\)"):
        look(path)


def test_postscript_is_not_run():
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(DataError, match="EPS"):
        Decoder((3, 4, 4)).decode(Encoded("a.eps", program))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_malformed_exif_does_not_cost_the_image():
    file = encoded(picture(), "x.jpg", "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert probe(file).orientation == 1
    assert Decoder((3, 30, 40)).decode(file).shape == (3, 30, 40)


def test_probe_reads_the_head_of_a_truncated_file():
    whole = encoded(picture(), "x.jpg", "JPEG").content
    header = probe(Encoded("x.jpg", whole[:-40]))
    assert (header.format, header.mode, header.height, header.width) == ("JPEG", "RGB", 30, 40)


def test_notes_count_what_decoding_changes():
    exif = Image.Exif()
    exif[0x0112] = 3
    files = [
        encoded(picture()),
        encoded(picture(mode="L")),
        encoded(picture(mode="RGBA")),
        encoded(picture(mode="CMYK"), format="TIFF"),
        encoded(Image.fromarray(np.zeros((3, 3), np.uint16))),
        encoded(picture(), exif=exif),
    ]
    headers = probe_all(files)
    assert conversion_notes(headers, 3) == (
        "1 of 6 images with transparency: laid on white",
        "1 of 6 images of 16-bit grey: scaled to 8 bits",
        "1 of 6 images turned upright as their EXIF says",
        "1 of 6 images CMYK: converted to RGB",
        "2 of 6 images grey: repeated to three channels",
    )
    assert conversion_notes(headers, 1)[-1] == "4 of 6 images in colour: turned to grey"
    assert conversion_notes(headers[:1], 3) == ()


def many_files(tmp_path, count):
    files = []
    for index in range(count):
        content = encoded(Image.new("L", (8, 8), index % 256)).content
        path = tmp_path / f"{index}.png"
        path.write_bytes(content)
        files.append(path if index % 2 else Encoded(str(path), content))
    return files


def test_many_files_keep_their_order_and_tell_how_far_they_are(tmp_path):
    files, told = many_files(tmp_path, 1500), []
    chunks = list(decode_all(files, Decoder((1, 8, 8)), total=1500, what="reading", progress=lambda *news: told.append(news)))
    images = np.concatenate(chunks)
    assert images.shape == (1500, 1, 8, 8) and len(chunks) > 1
    assert (images == (np.arange(1500) % 256)[:, None, None, None]).all()
    assert told == [("reading", done, 1500) for done in np.cumsum([len(chunk) for chunk in chunks])]


def test_labels_stay_with_their_images(tmp_path):
    pairs = [(file, 3 * index) for index, file in enumerate(many_files(tmp_path, 1100))]
    chunks = list(labelled_chunks(iter(pairs), Decoder((1, 8, 8))))
    labels = np.concatenate([chunk.labels for chunk in chunks])
    images = np.concatenate([chunk.images for chunk in chunks])
    assert labels.dtype == np.int64 and np.array_equal(labels, 3 * np.arange(1100))
    assert np.array_equal(images[:, 0, 0, 0], np.arange(1100) % 256)


def test_files_are_taken_from_a_stream_only_as_fast_as_they_are_used(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    taken = 0
    file = encoded(picture(600, 600))

    def stream():
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield file

    chunks = decode_all(stream(), Decoder((3, 600, 600)))  # three images to a chunk
    assert next(chunks).shape == (3, 3, 600, 600)
    assert taken <= 3 * (2 + 2)
    chunks.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decoding")]


def test_one_bad_file_among_many_is_named(tmp_path):
    files = many_files(tmp_path, 50)
    files[37].write_bytes(b"no image")
    with pytest.raises(DataError, match=r"37\.png is no image"):
        list(decode_all(files, Decoder((1, 8, 8))))
    with pytest.raises(DataError, match=r"37\.png is no image"):
        probe_all(files)
