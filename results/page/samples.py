"""Pictures for the page: images drawn at random from every cluster, in one strip a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from ..data_uri import data_uri
from ..figures.jobs import Cannot, ImagesOf
from ..figures.pixels import shown
from ..record import Record
from ..unlabelled import chosen_clusters

IN_STRIP, LONGEST_SIDE, GAP = 12, 48, 2
MOST_CLUSTERS = 50
SEED = 0


class Strips:
    """Gives a strip of images for each cluster of a record.

    Args:
        images: gives the scored images at some rows.
    """

    def __init__(self, images: ImagesOf) -> None:
        self.images = images

    def __call__(self, record: Record, arrays: Mapping[str, np.ndarray], n_clusters: int) -> Sequence[str]:
        """Data URIs, one a cluster, "" for an empty one. Raises `Cannot` where the images are not to be had."""
        found = chosen_clusters(arrays)
        if found is None or found.ndim != 1:
            raise Cannot("sample images are shown where whole images are clustered; bench figures segmentation shows label maps")
        if n_clusters > MOST_CLUSTERS:
            raise Cannot(f"no sample images of {n_clusters} clusters; at most {MOST_CLUSTERS} are shown")
        chosen = sample(found, n_clusters)
        pictures = shown(self.images(record, np.concatenate(chosen)))
        ends = np.cumsum([len(rows) for rows in chosen])[:-1]
        return [strip(each) if len(each) else "" for each in np.split(pictures, ends)]


def sample(clusters: np.ndarray, n_clusters: int, most: int = IN_STRIP) -> list[np.ndarray]:
    """For each cluster the rows of up to `most` of its images, drawn at random without labels; always the same ones.

    Args:
        clusters: integer (N,), values 0..n_clusters-1.
    """
    random = np.random.default_rng(SEED)
    members = [np.flatnonzero(clusters == cluster) for cluster in range(n_clusters)]
    return [np.sort(random.permutation(rows)[:most]).astype(np.int64) for rows in members]


def strip(pictures: np.ndarray) -> str:
    """Images uint8 (n, H, W, 3) side by side as a data URI: PNG where they are grey, else JPEG. Large ones are made smaller."""
    tiles = [_small(picture) for picture in pictures]
    height, width = tiles[0].shape[:2]
    sheet = np.full((height, len(tiles) * (width + GAP) - GAP, 3), 128, np.uint8)
    for place, tile in enumerate(tiles):
        sheet[:, place * (width + GAP) : place * (width + GAP) + width] = tile
    grey = bool((sheet[..., :1] == sheet).all())
    if grey:
        return data_uri(Image.fromarray(sheet[..., 0]), "PNG", optimize=True)
    return data_uri(Image.fromarray(sheet), "JPEG", quality=85)


def _small(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    share = LONGEST_SIDE / max(height, width)
    if share >= 1:
        return picture
    size = max(1, round(width * share)), max(1, round(height * share))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
