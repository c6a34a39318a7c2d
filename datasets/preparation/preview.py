"""A contact sheet of a prepared data set: to see in one look whether colours, orientation and labels are right."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np

from ..splits import Split

COLUMNS = 10
ROWS = 10
LOOKED_AT = 20_000  # images among which those of each class are sought
TILE = 64  # pixels


def save_preview(path: Path, whole: Split, n_classes: int) -> None:
    """Write a PNG: a row of images for each of the first classes, or images in pairs with their label maps.

    Args:
        path: the file.
        whole: the images and labels.
        n_classes: labels 0..n_classes-1.
    """
    from PIL import Image

    tiles = _label_map_tiles(whole, n_classes) if whole.labels.ndim == 3 else _class_tiles(whole, n_classes)
    sheet = np.full((ROWS * TILE, COLUMNS * TILE, 3), 255, np.uint8)
    for place, tile in enumerate(tiles[: ROWS * COLUMNS]):
        if tile is not None:
            row, column = divmod(place, COLUMNS)
            small = Image.fromarray(tile).resize((TILE - 2, TILE - 2), Image.Resampling.BILINEAR)
            sheet[row * TILE : (row + 1) * TILE - 2, column * TILE : (column + 1) * TILE - 2] = np.asarray(small)
    Image.fromarray(sheet).save(path)


def _class_tiles(whole: Split, n_classes: int) -> list[np.ndarray | None]:
    """`COLUMNS` images of each class; any images where none are labelled."""
    labels = np.asarray(whole.labels[:LOOKED_AT])
    if n_classes == 0 or (labels < 0).all():
        return [_rgb(image) for image in whole.images[: ROWS * COLUMNS]]
    tiles: list[np.ndarray | None] = []
    for label in range(min(n_classes, ROWS)):
        found = np.flatnonzero(labels == label)[:COLUMNS]
        tiles += [_rgb(whole.images[row]) for row in found] + [None] * (COLUMNS - len(found))
    return tiles


def _label_map_tiles(whole: Split, n_classes: int) -> list[np.ndarray | None]:
    """Images and their label maps in turns, one colour a class, black where nothing is to be judged."""
    hues = (index * 0.618034 % 1 for index in range(n_classes))  # golden section: neighbours differ most
    colours = [tuple(int(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.65, 0.95)) for hue in hues]
    palette = np.array([*colours, (0, 0, 0)], np.uint8)  # -1 takes the last
    tiles: list[np.ndarray | None] = []
    for image, labels in zip(whole.images[: ROWS * COLUMNS // 2], whole.labels, strict=False):
        tiles += [_rgb(image), palette[labels]]
    return tiles


def _rgb(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) of a (C, H, W) image; infrared is left out."""
    return np.ascontiguousarray(np.broadcast_to(image[:3], (3, *image.shape[1:])).transpose(1, 2, 0))
