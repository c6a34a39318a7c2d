"""Images that a clusterer has seen, and the nearest of them."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from clusterbench.methods.kit.known_images import KnownImages

VECTORS = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
CLUSTERS = np.random.default_rng(1).integers(0, 5, 60)


def test_a_known_image_has_its_own_cluster_and_a_new_one_that_of_the_nearest() -> None:
    new = np.random.default_rng(2).normal(size=(20, 4)).astype(np.float32)
    theirs = KNeighborsClassifier(1).fit(VECTORS, CLUSTERS).predict(new)
    ours = KnownImages(VECTORS, CLUSTERS, "cpu").predict(np.concatenate([VECTORS[::-1], new]))
    np.testing.assert_array_equal(ours, np.concatenate([CLUSTERS[::-1], theirs]))


def test_equal_images_are_one_image() -> None:
    known = KnownImages(np.repeat(VECTORS[:2], 3, axis=0), np.arange(6), "cpu")
    np.testing.assert_array_equal(known.clusters, [0, 0, 0, 3, 3, 3])
    np.testing.assert_array_equal(known.known(VECTORS[:3]), [0, 3, -1])


def test_it_is_rebuilt_from_its_state() -> None:
    known = KnownImages(VECTORS, CLUSTERS, "cpu")
    again = KnownImages.of(known.state_dict(), "cpu")
    np.testing.assert_array_equal(again.predict(VECTORS + 0.01), known.predict(VECTORS + 0.01))
