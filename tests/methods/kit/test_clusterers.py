"""The k-means head against scikit-learn, and its two libraries against each other."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler, normalize

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.clusterers import KMeansHead, KMeansSettings

DIGITS = load_digits().data.astype(np.float32) / 16


def fitted(**settings: object) -> tuple[KMeansHead, float]:
    head = KMeansHead(10, KMeansSettings(**settings), seed=0)
    return head, head.fit(DIGITS)


def test_small_data_give_scikit_learns_own_result() -> None:
    head, objective = fitted()
    theirs = KMeans(10, n_init=10, random_state=0).fit(DIGITS)
    np.testing.assert_array_equal(head.predict(DIGITS), theirs.labels_)
    assert objective == pytest.approx(theirs.inertia_ / len(DIGITS), rel=1e-5)


def test_faiss_reaches_the_objective_of_scikit_learn_on_all_points() -> None:
    objective = {backend: fitted(backend=backend)[1] for backend in ("sklearn", "faiss")}
    assert objective["faiss"] == pytest.approx(objective["sklearn"], rel=0.02)


@pytest.mark.parametrize("backend", ["sklearn", "faiss"])
def test_the_objective_is_the_mean_squared_distance_to_the_nearest_centre(backend: str) -> None:
    head, objective = fitted(backend=backend, restarts=2)
    distances = ((DIGITS[:, None] - head.centres[None]) ** 2).sum(-1)
    np.testing.assert_array_equal(head.predict(DIGITS), distances.argmin(1))
    # the last reported objective belongs to the centres before their last update
    assert objective == pytest.approx(distances.min(1).mean(), rel=1e-3)


def test_normalisation_and_pca_are_scikit_learns() -> None:
    standard = KMeans(10, n_init=10, random_state=0).fit_predict(StandardScaler().fit_transform(DIGITS))
    unit = KMeans(10, n_init=10, random_state=0).fit_predict(normalize(DIGITS))
    reduced = KMeans(10, n_init=10, random_state=0).fit_predict(PCA(16, random_state=0).fit_transform(DIGITS))
    for settings, theirs in (({"normalise": "standard"}, standard), ({"normalise": "l2"}, unit), ({"pca": 16}, reduced)):
        assert adjusted_rand_score(fitted(**settings)[0].predict(DIGITS), theirs) > 0.95


def test_a_restored_head_predicts_the_same() -> None:
    head, _ = fitted(normalise="standard", pca=8)
    restored = KMeansHead(10, KMeansSettings(normalise="standard", pca=8), seed=1)
    restored.load_state_dict(head.state_dict())
    np.testing.assert_array_equal(restored.predict(DIGITS), head.predict(DIGITS))


def test_impossible_requests_are_named() -> None:
    with pytest.raises(MethodError, match="at least as many images as clusters, got 5 images for 10"):
        KMeansHead(10, KMeansSettings(), 0).fit(DIGITS[:5])
    with pytest.raises(MethodError, match=r"kmeans\.pca must be at most 64"):
        fitted(pca=65)
