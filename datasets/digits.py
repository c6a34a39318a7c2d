"""`digits`: the test part of UCI's optical digits, as scikit-learn ships it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .catalogue import register
from .splits import Dataset, Split

STEPS = 16  # grey levels 0..16: the number of inked pixels in a 4x4 block of the scanned bitmap


@register("digits")
def load_digits(root: Path | None, download: bool) -> Dataset:
    """All 1,797 images as uint8 (1797, 1, 8, 8), in scikit-learn's order, under one split `all`.

    The 17 grey levels are spread over 0..255 and rounded half to even (8 of 16 becomes 128), which keeps them
    distinct. `root` and `download` are unused: the data comes with scikit-learn.
    """
    from sklearn.datasets import load_digits as bundled

    source = bundled()
    pixels = np.rint(source.images * (255 / STEPS)).astype(np.uint8)[:, None]  # (N, 1, 8, 8)
    labels = source.target.astype(np.int64)
    return Dataset("digits", {"all": Split(pixels, labels)}, tuple(str(name) for name in source.target_names))
