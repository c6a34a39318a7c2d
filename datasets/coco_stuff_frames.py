"""Images and label maps of COCO-Stuff as IIC's authors made them: shrunk to a third, padded, in one common frame.

Shrinking is OpenCV's `resize` by a factor without antialiasing, as it stands in their loader: pixel `i` of the small image
lies at `(i + 0.5) / 0.33 - 0.5` of the large one (labels: at the whole part of `i / 0.33`), and the side is the nearest whole
number to 0.33 times the large one. Grey levels are cut off, not rounded, when they become bytes again, as theirs are.
"""

from __future__ import annotations

import numpy as np

SCALE = 0.33
WINDOW = 128  # training and scoring cut this square
FRAME = 212  # 640, the longest side in COCO, becomes 211


def shrunk_side(side: int) -> int:
    """The side in pixels after shrinking: the nearest whole number, of two equally near the even one."""
    return max(round(side * SCALE), 1)


def shrunk_image(pixels: np.ndarray) -> np.ndarray:
    """Bilinear: uint8 (H, W, C) to uint8 (round(0.33 H), round(0.33 W), C)."""
    (top, bottom, down), (left, right, across) = map(_neighbours, pixels.shape[:2])
    down, across = down[:, None, None], across[:, None]

    def row_of(rows: np.ndarray) -> np.ndarray:
        lines = pixels[rows]
        return _between(lines[:, left].astype(np.float32), lines[:, right].astype(np.float32), across)

    return _between(row_of(top), row_of(bottom), down).astype(np.uint8)


def shrunk_labels(labels: np.ndarray) -> np.ndarray:
    """Nearest in OpenCV's sense: (H, W) to (round(0.33 H), round(0.33 W))."""
    rows, columns = (np.minimum(np.floor(np.arange(shrunk_side(side)) / SCALE).astype(int), side - 1) for side in labels.shape)
    return labels[rows][:, columns]


def framed(image: np.ndarray, labels: np.ndarray, frame: int = FRAME) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """A shrunk image and its labels, padded to at least 128x128 with itself in the centre, in the corner of a frame.

    Args:
        image: uint8 (h, w, C).
        labels: integers (h, w), -1 where not known.
        frame: side of the frame in pixels, at least 128.

    Returns:
        uint8 (C, frame, frame), zero outside the image; int16 (frame, frame), -1 outside it; height and width of the padded
        image, from the upper left corner.

    Raises:
        ValueError: it is larger than the frame.
    """
    height, width = labels.shape
    if max(height, width) > frame:
        raise ValueError(f"{width}x{height} pixels do not fit into a frame of {frame}x{frame}")
    padded = max(height, WINDOW), max(width, WINDOW)
    top, left = padded[0] // 2 - height // 2, padded[1] // 2 - width // 2
    inside = slice(top, top + height), slice(left, left + width)
    pixels = np.zeros((image.shape[2], frame, frame), np.uint8)
    maps = np.full((frame, frame), -1, np.int16)
    pixels[:, inside[0], inside[1]] = image.transpose(2, 0, 1)
    maps[inside] = labels
    return pixels, maps, padded


def _neighbours(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each small pixel the large ones before and after its place, and how far it is on the way, in [0, 1)."""
    place = (np.arange(shrunk_side(side)) + 0.5) / SCALE - 0.5
    place = np.clip(place, 0, side - 1)  # beyond the first and the last pixel their value holds
    before = np.floor(place).astype(int)
    return before, np.minimum(before + 1, side - 1), (place - before).astype(np.float32)


def _between(first: np.ndarray, second: np.ndarray, way: np.ndarray) -> np.ndarray:
    return first + (second - first) * way
