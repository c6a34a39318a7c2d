"""Clusterers of scikit-learn, of ClustPy's habits and of one's own as methods."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import cluster, mixture
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import KNeighborsClassifier

from clusterbench.datasets.base import Images
from clusterbench.datasets.registry import NotFound
from clusterbench.methods.base import Method, MethodError
from clusterbench.methods.registry import methods

PIXELS = (load_digits().images * 255 / 16).round().astype(np.uint8)[:300]
VECTORS = PIXELS.reshape(300, -1).astype(np.float32) / 255
OWN = '''
import numpy as np

class Brightest:
    """The number of the brightest quarter of an image.

    Parameters
    ----------
    floor : float, default=0
    """

    def __init__(self, floor=0.0, limit=float("inf"), chooser=max):
        self.floor, self.limit, self.chooser = floor, limit, chooser

    def fit_predict(self, X):
        assert self.limit == float("inf") and self.chooser is max and X.dtype == np.float32
        return np.array([part.sum(1) for part in np.array_split(X, 4, axis=1)]).clip(self.floor).argmax(0)
'''


def made(path: str, n_clusters: int = 10, prefix: str = "sklearn", **settings: Any) -> Any:
    return methods.get(f"{prefix}:{path}")(n_clusters, **settings)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Writes a module of the user's and gives its name."""

    def write(code: str) -> str:
        name = f"own_{abs(hash(request.node.name))}"
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


@pytest.mark.parametrize(
    ("path", "theirs", "settings"),
    [
        ("cluster.BisectingKMeans", cluster.BisectingKMeans(10, random_state=3), {}),
        ("cluster.AgglomerativeClustering", cluster.AgglomerativeClustering(10, linkage="average"), {"linkage": "average"}),
        ("cluster.Birch", cluster.Birch(n_clusters=10, threshold=0.3), {"threshold": 0.3}),
        ("mixture.GaussianMixture", mixture.GaussianMixture(10, n_init=2, random_state=3), {"n_init": 2}),
    ],
)
def test_its_clusters_are_the_librarys_own(path: str, theirs: Any, settings: dict[str, Any]) -> None:
    ours = made(f"sklearn.{path}", seed=3, **settings).fit_predict(PIXELS)
    assert adjusted_rand_score(ours, theirs.fit_predict(VECTORS)) == 1
    assert ours.min() == 0 and ours.max() < 10 and ours.dtype == np.int64


def test_a_class_that_knows_its_inertia_is_judged_by_it() -> None:
    (epoch,) = made("sklearn.cluster.KMeans", seed=1).train(Images.of(PIXELS))
    theirs = cluster.KMeans(10, random_state=1).fit(VECTORS).inertia_ / 300
    assert epoch.criterion == epoch.losses["inertia"] == pytest.approx(theirs)
    (without,) = made("sklearn.cluster.AgglomerativeClustering").train(Images.of(PIXELS))
    assert without.criterion is None and without.losses == {}


def test_new_images_go_where_its_predict_says() -> None:
    method = made("sklearn.cluster.KMeans").fit(PIXELS[:200])
    theirs = method.fitted.predict(VECTORS[200:])
    np.testing.assert_array_equal(method.predict(PIXELS[200:]), theirs)


def test_new_images_go_to_the_nearest_where_it_has_no_predict() -> None:
    method = made("sklearn.cluster.AgglomerativeClustering").fit(PIXELS[:200])
    theirs = KNeighborsClassifier(1).fit(VECTORS[:200], method.labels_).predict(VECTORS[200:])
    assert (method.predict(PIXELS[200:]) == theirs).mean() > 0.98, "but for equal distances"
    assert np.array_equal(method.predict(PIXELS[:200]), method.labels_)


def test_a_class_that_counts_clusters_itself_is_refused_where_it_finds_too_many() -> None:
    with pytest.raises(MethodError, match=r"found (\d+) clusters, and 4 are to be scored: --clusters \1"):
        made("sklearn.cluster.AffinityPropagation", 4).fit(PIXELS[:100])


def test_outliers_are_a_cluster() -> None:
    theirs = cluster.DBSCAN(eps=1.2).fit_predict(VECTORS)
    assert theirs.min() == -1
    found = made("sklearn.cluster.DBSCAN", 40, eps=1.2).fit_predict(PIXELS)
    assert found.min() == 0 and adjusted_rand_score(found, theirs) == 1
    with pytest.raises(MethodError, match="its outliers one of them"):
        made("sklearn.cluster.DBSCAN", 2, eps=1.2).fit(PIXELS)


def test_it_is_fitted_to_a_sample_and_judged_on_all() -> None:
    method = made("sklearn.cluster.AgglomerativeClustering", input={"sample": 120}).fit(PIXELS)
    assert len(method.labels_) == 300 and len(method.known.vectors) == 120
    again = made("sklearn.cluster.AgglomerativeClustering", input={"sample": 120}).fit_predict(PIXELS)
    other = made("sklearn.cluster.AgglomerativeClustering", input={"sample": 120}, seed=1).fit(PIXELS)
    assert np.array_equal(again, method.labels_)
    assert not np.array_equal(other.known.vectors, method.known.vectors)


def test_it_may_cluster_a_networks_features_scaled_and_projected() -> None:
    network = {"widths": (8, 16), "batch": 64, "views": {"size": 16, "crop": 8}}
    method = made("sklearn.cluster.KMeans", input={"features": "network", "network": network, "normalise": "l2", "pca": 5})
    (epoch,) = method.train(Images.of(PIXELS))
    assert epoch.images == 300 and method.known.vectors.shape == (300, 5)
    raw = method.inputs.extractor.of(Images.of(PIXELS)).numpy()
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(method.known.vectors, unit @ method.inputs.scaling.axes, atol=1e-6)


def test_a_saved_state_predicts_what_the_clusterer_predicted() -> None:
    for path in ("sklearn.cluster.KMeans", "sklearn.cluster.AgglomerativeClustering"):
        method, onward = made(path, seed=2).fit(PIXELS[:200]), made(path, seed=2)
        stored = io.BytesIO()
        torch.save(method.state_dict(), stored)
        onward.load_state_dict(torch.load(io.BytesIO(stored.getvalue()), weights_only=True))
        np.testing.assert_array_equal(onward.predict(PIXELS), method.predict(PIXELS))
        assert list(onward.train(Images.of(PIXELS[:200]))) == []


def test_a_class_that_does_not_repeat_itself_cannot_go_on(own: Callable[[str], str]) -> None:
    name = own(
        "import numpy as np\n"
        "class Moody:\n"
        "    mood = 0\n"
        "    def fit_predict(self, X):\n"
        "        Moody.mood += 1\n"
        "        return np.arange(len(X)) // Moody.mood % 2\n"
        "    def predict(self, X):\n"
        "        return np.zeros(len(X), int)\n"
    )
    method, onward = made(f"{name}.Moody", 2).fit(PIXELS[:50]), made(f"{name}.Moody", 2)
    onward.load_state_dict(method.state_dict())
    assert np.array_equal(onward.predict(PIXELS[:50]), method.labels_)
    with pytest.raises(MethodError, match="does not repeat itself"):
        onward.predict(PIXELS)


def test_a_class_of_ones_own_takes_ten_lines(own: Callable[[str], str]) -> None:
    method = made(f"{own(OWN)}.Brightest", 4, floor=0.5)
    assert isinstance(method, Method)
    quarters = VECTORS.reshape(300, 4, 16).sum(2).clip(0.5).argmax(1)
    assert adjusted_rand_score(method.fit_predict(PIXELS), quarters) == 1
    assert {"floor": 0.5, "limit": "inf"}.items() <= method.get_params().items(), "an infinite default is a word"
    assert "chooser" not in method.get_params(), "what is no plain value keeps its default"
    assert type(method).Config.model_fields["floor"].description == "float, default=0"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise OSError('bad\\nluck')", "broke: OSError: bad"),
        ("raise MemoryError", "needs more memory than there is. Fit it to fewer: --set input.sample=10000"),
        ("return X[:, 0]", r"gave float32 \(30,\) for 30 images"),
        ("return [0, 1]", r"gave int64 \(2,\) for 30 images"),
    ],
)
def test_what_a_class_does_wrong_is_told_in_one_line_with_its_name(code: str, message: str, own: Callable[[str], str]) -> None:
    name = own(f"class Broken:\n    def fit_predict(self, X):\n        {code}\n")
    with pytest.raises(MethodError, match=f"sklearn:{name}.Broken {message}") as caught:
        made(f"{name}.Broken").fit(PIXELS[:30])
    assert "\n" not in str(caught.value)


def test_the_seed_and_the_device_reach_a_class_that_has_them(own: Callable[[str], str]) -> None:
    name = own(
        "import numpy as np\n"
        "class Idle:\n"
        "    def __init__(self, n_clusters, device=None, random_state=None, optimizer_class=dict):\n"
        "        self.got = n_clusters, device, random_state\n"
        "    def fit_predict(self, X):\n"
        "        return np.zeros(len(X), np.int32)\n"
    )
    method = made(f"{name}.Idle", 7, "clustpy", seed=5).fit(PIXELS[:30])
    assert method.fitted.got == (7, "cpu", 5)
    assert set(type(method).Config.model_fields) == {"input"}


def test_a_class_over_scikit_learns_base_without_a_table_of_constraints_takes_its_parameters(own: Callable[[str], str]) -> None:
    name = own(
        "from sklearn.base import BaseEstimator, ClusterMixin\n"
        "class Modulo(ClusterMixin, BaseEstimator):\n"
        "    def __init__(self, n_clusters=8, step=1):\n"
        "        self.n_clusters, self.step = n_clusters, step\n"
        "    def fit(self, X, y=None):\n"
        "        self.labels_ = X.argmax(1) // self.step % self.n_clusters\n"
        "        return self\n"
    )
    found = made(f"{name}.Modulo", 3, step=2).fit_predict(PIXELS)
    np.testing.assert_array_equal(found, VECTORS.argmax(1) // 2 % 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sklearn:sklearn.cluster.BisectingKMean", "has no 'BisectingKMean'. Did you mean 'BisectingKMeans'"),
        ("sklearn:sklearn.clutser.KMeans", "sklearn has no 'clutser'. Did you mean 'cluster'"),
        ("sklearn:sklearn.decomposition.PCA", "is no clusterer: it must be a class with fit_predict"),
        ("sklearn:sklearn.cluster.k_means", "is no clusterer"),
        ("sklearn:KMeans", "no dotted path of a class. For example: sklearn.cluster.BisectingKMeans"),
        ("clustpy:no_clustpy_here.deep.IDEC", "There is no module 'no_clustpy_here' here: pip install no_clustpy_here"),
        ("sklearn:PATH", "stands for many names, such as 'sklearn:sklearn.cluster.BisectingKMeans'"),
        ("sklearn:", "Unknown method 'sklearn:'. Did you mean 'sklearn:PATH'"),
    ],
)
def test_what_cannot_be_wrapped_is_told_with_the_nearest_names(name: str, message: str) -> None:
    with pytest.raises(NotFound, match=message):
        methods.get(name)


def test_a_module_that_breaks_or_lacks_a_package_is_named(own: Callable[[str], str]) -> None:
    with pytest.raises(NotFound, match="cannot be loaded, as it needs no_such_package: pip install no_such_package"):
        methods.get(f"sklearn:{own('import no_such_package.part')}.Any")


def test_a_parameter_with_the_name_of_our_own_setting_is_refused(own: Callable[[str], str]) -> None:
    name = own("class Taken:\n    def __init__(self, input=1): ...\n    def fit_predict(self, X): ...\n")
    with pytest.raises(NotFound, match="takes a parameter 'input', which is a setting of ours"):
        methods.get(f"sklearn:{name}.Taken")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"linkag": "ward"}, "unknown setting 'linkag'. Did you mean 'linkage'"),
        ({"linkage": "averag"}, "setting 'linkage': The 'linkage' parameter of AgglomerativeClustering must be a str among"),
        ({"input": {"sampel": 3}}, "Did you mean 'input.sample'"),
        ({"n_clusters": 1}, "n_clusters must be a whole number of at least 2"),
    ],
)
def test_a_parameter_that_the_class_does_not_take_is_refused_before_anything_runs(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        methods.get("sklearn:sklearn.cluster.AgglomerativeClustering")(**{"n_clusters": 10, **settings})


def test_every_clusterer_of_scikit_learn_has_settings_that_a_record_can_hold() -> None:
    from sklearn.utils import all_estimators

    from clusterbench.bench.config import resolve

    for name, found in all_estimators("cluster"):
        path = f"sklearn:{found.__module__.rpartition('._')[0]}.{name}"
        if name in ("FeatureAgglomeration", "SpectralBiclustering", "SpectralCoclustering"):  # of features, or of both
            continue
        resolved = resolve(path, "digits", "smoke")
        assert methods.get(path)(5, **resolved.config).config.model_dump(mode="json") == resolved.config


def test_a_family_has_cards_without_loading_anything() -> None:
    card = methods.card("sklearn:sklearn.cluster.Birch")
    assert card["title"] == "Birch" and {"paper", "short", "smoke"} == card["presets"].keys()
    assert {"sklearn:PATH", "clustpy:PATH"} == set(methods.families)
    assert not set(methods.families) & set(methods.names())
    methods.get("sklearn:sklearn.cluster.Birch")
    assert "sklearn:sklearn.cluster.Birch" not in methods.names() and "sklearn:sklearn.cluster.Birch" in methods
    assert "sklearn:" not in methods
