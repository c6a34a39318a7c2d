"""Four-band TIFF (red, green, blue, infrared), which Pillow alone reads wrongly or not at all.

The TIFF tag ExtraSamples says what the fourth band is. Pillow drops a band of no stated meaning, and divides the colours by
one that is called a premultiplied opacity. Whatever the file says, the four bands are here taken as they are stored, by
changing that tag in memory before Pillow decodes.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import IO, NamedTuple

import numpy as np

from ..errors import DataError
from .archives import DAMAGE
from .file_sets import SOUND_COPY, damaged, decoded

WIDTH, HEIGHT, PHOTOMETRIC, EXTRA_SAMPLES = 256, 257, 262, 338
PLAIN = {PHOTOMETRIC: 2, EXTRA_SAMPLES: 2}  # RGB, and an opacity that is not premultiplied: Pillow's mode RGBA, as stored
ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
LETTERS = {3: "H", 4: "I"}  # TIFF's types SHORT and LONG


class Field(NamedTuple):
    """One tag with a single whole number: its value, the letter `struct` writes it with, and where it stands."""

    value: int
    letter: str
    offset: int


def size(title: str, stream: IO[bytes]) -> tuple[int, int]:
    """Height and width in pixels, from the header alone. Raises `DataError` if `stream` is no TIFF file."""
    fields = _fields(title, stream)
    try:
        return fields[HEIGHT].value, fields[WIDTH].value
    except KeyError as error:
        raise damaged(title, ValueError("the header gives no size")) from error


def four_bands(title: str, content: bytes | bytearray) -> np.ndarray:
    """The pixels, uint8 (H, W, 4), as stored. Raises `DataError` for anything but an intact TIFF of four 8-bit bands."""
    fields = _fields(title, io.BytesIO(content))
    other = [(fields[tag], value) for tag, value in PLAIN.items() if tag in fields and fields[tag].value != value]
    if other:
        content = _with(content, other)
    image = decoded(title, content)
    if image.mode != "RGBA":
        raise DataError(f"{title} has {len(image.getbands())} bands of mode {image.mode} instead of four of 8 bits. {SOUND_COPY}")
    return np.asarray(image)


def _with(content: bytes | bytearray, changes: Sequence[tuple[Field, int]]) -> bytearray:
    """A copy with other values in these tags."""
    changed = bytearray(content)
    for field, value in changes:
        struct.pack_into(field.letter, changed, field.offset, value)
    return changed


def _fields(title: str, stream: IO[bytes]) -> dict[int, Field]:
    """The tags of the first image that hold a single whole number."""
    try:
        order = ORDERS[stream.read(4)]
        (start,) = struct.unpack(f"{order}I", stream.read(4))
        stream.seek(start)
        (count,) = struct.unpack(f"{order}H", stream.read(2))
        table = stream.read(12 * count)
        found = {}
        for index in range(count):
            tag, kind, number = struct.unpack_from(f"{order}HHI", table, 12 * index)
            if kind in LETTERS and number == 1:
                letter = order + LETTERS[kind]
                (value,) = struct.unpack_from(letter, table, 12 * index + 8)
                found[tag] = Field(value, letter, start + 2 + 12 * index + 8)
    except KeyError as error:
        raise damaged(title, ValueError("it does not begin like a TIFF file")) from error
    except (struct.error, OSError, *DAMAGE) as error:
        raise damaged(title, error) from error
    return found
