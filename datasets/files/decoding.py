"""Image files to arrays: any format and colour that Pillow reads, one shape, many files at once, one line for a bad one.

A file is a `Path`, or `Encoded` bytes such as a member of an archive. `probe_all` reads headers only (sizes, what will have
to be converted); `Decoder` turns one file into uint8 (C, H, W); `decode_all` and `labelled_chunks` do so for many files in
threads (Pillow works without Python's lock), in order, with a few chunks in memory.

What becomes of colours:
    1 bit -> 0 and 255; 16-bit grey -> 8 bits over the full range (65535 becomes 255; Pillow alone would clip); palette, CMYK,
    YCbCr -> RGB; grey -> RGB by repetition; RGB -> grey by ITU-R 601-2 luma, as Pillow does; transparent pixels lie on white.
    Floating-point and 32-bit grey have no agreed range and are refused. Of an animation or a stack the first frame counts.
"""

from __future__ import annotations

import io
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np
from PIL import Image

from ..errors import DataError
from ..source import Chunk, Progress, silent

CHUNK_BYTES = 4 << 20
THIN = 16
"""An image this many times longer than wide is first cut to that, so that fitting its short side cannot fill the memory."""
DRAFT = 3
"""JPEG is decoded at 1/2, 1/4 or 1/8 where that leaves this many times the wanted size: hardly to be told apart, quicker."""
ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TRANSPARENT = {"RGBA", "LA", "PA", "RGBa", "La"}
# many sound photographs, of ImageNet among others, carry EXIF that Pillow complains of
warnings.filterwarnings("ignore", "(possibly )?corrupt EXIF data", module=r"PIL\.")


@dataclass(frozen=True)
class Encoded:
    """An image file in memory. `name` is what messages call it, e.g. `val.tar: ILSVRC2012_val_00000001.JPEG`."""

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name


ImageFile: TypeAlias = "Path | Encoded"


@dataclass(frozen=True)
class Header:
    """What the head of an image file tells; `height` and `width` are in pixels, as the image is to be seen (EXIF)."""

    format: str
    mode: str
    height: int
    width: int
    orientation: int
    animated: bool
    transparent: bool


@dataclass(frozen=True)
class Decoder:
    """How image files become arrays of one shape.

    Attributes:
        shape: (C, H, W), C = 1 (grey) or 3 (RGB).
        fit: `exact`: an image of another size is an error. `crop`: the image is resized, bilinear with antialiasing, until it
            just covers H x W, and its centre is cut out; for H = W the pixels are those of torchvision's `Resize(H)` and
            `CenterCrop(H)`, except for a JPEG more than six times too large (see `DRAFT`).
        orient: whether to turn an image upright as its EXIF says. torchvision's image folders do not.
    """

    shape: tuple[int, int, int]
    fit: Literal["exact", "crop"] = "exact"
    orient: bool = True

    def __post_init__(self) -> None:
        if self.shape[0] not in (1, 3) or min(self.shape) < 1:
            raise ValueError(f"images are decoded to (1 or 3, height, width), not {self.shape}")

    def decode(self, file: ImageFile) -> np.ndarray:
        """The pixels, uint8 (C, H, W). Raises `DataError` for what cannot be read, is cut short, too large or of another size."""
        with _blamed_on(file), Image.open(io.BytesIO(_content(file))) as opened:
            _refuse_danger(opened, file)
            if self.fit == "crop" and opened.format in ("JPEG", "MPO"):
                side = DRAFT * max(self.shape[1:])
                opened.draft(opened.mode, (side, side))
            opened.load()
            image = _upright(opened) if self.orient else opened
            image = _coloured(image, self.shape[0], file)
            image = self._fitted(image, file)
            return np.asarray(image).reshape(*self.shape[1:], -1).transpose(2, 0, 1)  # (C, H, W)

    def _fitted(self, image: Image.Image, file: ImageFile) -> Image.Image:
        wanted = self.shape[2], self.shape[1]  # Pillow's order: width, height
        if image.size == wanted:
            return image
        if self.fit == "exact":
            raise DataError(
                f"{file} is {image.width}x{image.height} pixels where {wanted[0]}x{wanted[1]} are expected. "
                "Replace it by the original file."
            )
        return _centre(_covering(_cut_thin(image), wanted), wanted)


def probe(file: ImageFile) -> Header:
    """What the head of the file tells, without decoding its pixels. Raises `DataError` if it is no image, or too large."""
    with _blamed_on(file), _opened(file) as stream, Image.open(stream) as image:
        _refuse_danger(image, file)
        # a PNG may carry its EXIF behind the pixels, and would be decoded to look there
        orientation = 1 if image.format == "PNG" and "exif" not in image.info else _orientation(image)
        turned = orientation >= 5 and image.format != "TIFF"  # Pillow turns a TIFF, and its size, by itself
        width, height = reversed(image.size) if turned else image.size
        return Header(
            format=image.format or "?",
            mode=image.mode,
            height=height,
            width=width,
            orientation=orientation,
            animated=bool(getattr(image, "is_animated", False)) and image.format != "MPO",  # MPO: a photo and its preview
            transparent=_is_transparent(image),
        )


def probe_all(files: Sequence[ImageFile], *, what: str = "looking at images", progress: Progress = silent) -> list[Header]:
    """`probe` for many files, in their order."""
    headers: list[Header] = []
    for some in in_threads(lambda part: [probe(file) for file in part], files, 256):
        headers += some
        progress(what, len(headers), len(files))
    return headers


def conversion_notes(headers: Iterable[Header], channels: int) -> tuple[str, ...]:
    """What decoding changes in these images, for the notes of a `Source`: one sentence for each kind, with its count."""
    known = list(headers)
    colour = {"RGB", "YCbCr", "CMYK", "P", "HSV", "RGBA", "RGBa", "RGBX", "PA", "LAB"}
    counts = {
        "{} animated or of several pages: the first frame is used": sum(header.animated for header in known),
        "{} with transparency: laid on white": sum(header.transparent for header in known),
        "{} of 16-bit grey: scaled to 8 bits": sum(header.mode.startswith("I") for header in known),
        "{} turned upright as their EXIF says": sum(header.orientation > 1 for header in known),
        "{} CMYK: converted to RGB": sum(header.mode == "CMYK" for header in known),
        "{} grey: repeated to three channels": sum(header.mode not in colour for header in known) if channels == 3 else 0,
        "{} in colour: turned to grey": sum(header.mode in colour for header in known) if channels == 1 else 0,
    }
    return tuple(text.format(f"{count:,} of {len(known):,} images") for text, count in counts.items() if count)


def decode_all(
    files: Iterable[ImageFile],
    decoder: Decoder,
    *,
    total: int = 0,
    what: str = "decoding images",
    progress: Progress = silent,
) -> Iterator[np.ndarray]:
    """The images of all `files` in their order, as chunks of uint8 (n, C, H, W) of about four megabytes.

    `files` is consumed as decoding goes on, so it may be a generator that reads an archive; at most two chunks more than
    there are threads are under way. `progress` is told `what`, how many images are done, and `total`. Raises `DataError` at
    the first bad file.
    """
    per_chunk = max(1, min(1024, CHUNK_BYTES // int(np.prod(decoder.shape))))
    done = 0

    def decode_some(part: Sequence[ImageFile]) -> np.ndarray:
        images = np.empty((len(part), *decoder.shape), np.uint8)
        for image, file in zip(images, part, strict=True):
            image[:] = decoder.decode(file)
        return images

    for images in in_threads(decode_some, files, per_chunk):
        done += len(images)
        progress(what, done, total)
        yield images


def labelled_chunks(
    files: Iterable[tuple[ImageFile, int]],
    decoder: Decoder,
    *,
    total: int = 0,
    what: str = "decoding images",
    progress: Progress = silent,
) -> Iterator[Chunk]:
    """`decode_all` for pairs of a file and its label, as the chunks of a `Part`."""
    labels: deque[int] = deque()

    def without_labels() -> Iterator[ImageFile]:
        for file, label in files:
            labels.append(label)
            yield file

    for images in decode_all(without_labels(), decoder, total=total, what=what, progress=progress):
        yield Chunk(images, np.array([labels.popleft() for _ in images], np.int64))


def in_threads(work: Callable[[list], Any], items: Iterable, per_task: int) -> Iterator:
    """`work` on lists of `per_task` items, results in order; only a few lists and results are in memory at a time."""
    Image.preinit()  # before the threads, which would otherwise register the formats all at once
    threads = max(1, min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))
    remaining = iter(items)
    lists = iter(lambda: list(islice(remaining, per_task)), [])
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decoding")
    waiting: deque[Future] = deque()
    try:
        for some in lists:
            waiting.append(pool.submit(work, some))
            if len(waiting) > threads + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _blamed_on(file: ImageFile) -> Iterator[None]:
    """Whatever Pillow raises on malformed bytes becomes a `DataError` that names the file."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(file) from error
    except Image.UnidentifiedImageError as error:
        raise DataError(f"{file} is no image in a format that can be read. Remove it, or replace it by an image.") from error
    except Exception as error:  # each format has its own: OSError, SyntaxError, ValueError, struct.error, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{file} is damaged or cut short ({reason}). Remove it, or replace it by a sound copy.") from error


@contextmanager
def _opened(file: ImageFile) -> Iterator[BinaryIO]:
    if isinstance(file, Encoded):
        yield io.BytesIO(file.content)
        return
    with _unreadable(file):
        if not file.is_file():  # a pipe would be waited for without end
            raise DataError(f"{file} is missing or is no file. Remove its name, or put the image there.")
        stream = file.open("rb")
    with stream:
        yield stream


@contextmanager
def _unreadable(file: ImageFile) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror or error}). Mend that, or remove the file.") from error


def _content(file: ImageFile) -> bytes:
    """The whole file, read before decoding, so that a fault of the disk is not taken for one of the image."""
    if isinstance(file, Encoded):
        return file.content
    with _opened(file) as stream, _unreadable(file):
        return stream.read()


def _refuse_danger(image: Image.Image, file: ImageFile) -> None:
    if image.format == "EPS":
        raise DataError(f"{file} is EPS, a program that draws, which is not run here. Convert it to PNG.")
    if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise _too_large(file)


def _too_large(file: ImageFile) -> DataError:
    limit = f"{Image.MAX_IMAGE_PIXELS or 0:,}"
    return DataError(f"{file} has more than {limit} pixels, which may be meant to fill the memory. Shrink it, or remove it.")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1..8; 1 (upright) where there is none or it is malformed, as viewers do."""
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # malformed EXIF: struct.error, SyntaxError, ...; the pixels may be sound all the same
        return 1
    return value if value in UPRIGHT else 1


def _upright(image: Image.Image) -> Image.Image:
    orientation = _orientation(image)
    return image.transpose(UPRIGHT[orientation]) if orientation > 1 else image


def _is_transparent(image: Image.Image) -> bool:
    return image.mode in TRANSPARENT or ("transparency" in image.info and not image.mode.startswith("I"))


def _coloured(image: Image.Image, channels: int, file: ImageFile) -> Image.Image:
    """The image in mode L or RGB."""
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bits(image, file)
    if _is_transparent(image):
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    elif image.mode == "P":
        image = image.convert("RGB")
    wanted = "L" if channels == 1 else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


def _eight_bits(image: Image.Image, file: ImageFile) -> Image.Image:
    """16-bit grey (Pillow's modes I;16, and I for some formats) to mode L: 0..65535 becomes 0..255, rounded."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise DataError(f"{file} has {image.mode!r} pixels (32 bits) of no agreed range. Save it with 8 or 16 bits a channel.")
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _cut_thin(image: Image.Image) -> Image.Image:
    longest = THIN * min(image.size)
    return _centre(image, (min(image.width, longest), min(image.height, longest)))


def _covering(image: Image.Image, wanted: tuple[int, int]) -> Image.Image:
    """Resized so that one side is as wanted and the other at least, rounded down like torchvision's `Resize`."""
    (width, height), (w, h) = image.size, wanted
    tall = width * h <= height * w  # the width is the side that decides
    size = (w, max(h, int(w * height / width))) if tall else (max(w, int(h * width / height)), h)
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)


def _centre(image: Image.Image, wanted: tuple[int, int]) -> Image.Image:
    """The middle of the image, rounded like torchvision's `CenterCrop`."""
    left, top = round((image.width - wanted[0]) / 2), round((image.height - wanted[1]) / 2)
    return image if image.size == wanted else image.crop((left, top, left + wanted[0], top + wanted[1]))
