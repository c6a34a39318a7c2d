"""Clusterers of scikit-learn, of ClustPy and of anybody's own under our data, protocols and records, by the path of their class.

`sklearn:PATH` and `clustpy:PATH` take any class with scikit-learn's interface; the prefix only says whose defaults they are::

    bench run --method sklearn:sklearn.cluster.BisectingKMeans --dataset digits --set init=k-means++
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import ConfigDict, Field

from ..datasets.base import Images
from .base import Epoch, Method, MethodConfig, MethodError, State
from .kit.estimators import Estimator
from .kit.inputs import Inputs, InputSettings
from .kit.known_images import KnownImages
from .kit.randomness import generator
from .registry import register


class WrappedInput(InputSettings):
    """What the clusterer is given."""

    sample: Annotated[int, Field(ge=2)] | None = Field(
        default=None, description="images that it is fitted to, drawn at random, where it cannot take all of them; all by default"
    )


class WrappedConfig(MethodConfig):
    """Settings of every wrapped clusterer; beside them stand the parameters of its constructor."""

    model_config = ConfigDict(protected_namespaces=())

    input: WrappedInput = Field(default_factory=WrappedInput, description="what is clustered, and how it is scaled")


class Wrapped(Method):
    """A clusterer with scikit-learn's interface.

    The number of clusters, the seed and the device are passed on where its constructor has them (`n_clusters`, or `n_components`
    of a mixture; `random_state`; `device`). What it calls outliers (-1) is a cluster like others. An image that it was not fitted
    to belongs where its `predict` says; if it has none, to the cluster of the nearest image that it was fitted to.

    Class attributes:
        estimator: what is wrapped.
    """

    Config = WrappedConfig
    config: WrappedConfig
    estimator: ClassVar[Estimator]

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield once. Where the clusterer has an `inertia_`, that over the number of images is `inertia` and `criterion`."""
        if hasattr(self, "known"):
            return
        self._build(images.shape)
        vectors = self._sampled(self.inputs.fit(images, "main"))
        self.known = KnownImages(vectors, self._fit(vectors), self.device)
        self.on_step(1, 1, len(vectors))
        inertia = float(getattr(self.fitted, "inertia_", math.nan)) / len(vectors)
        known = math.isfinite(inertia)
        passed = self.inputs.passed(len(images.role("main")))
        yield Epoch(1, {"inertia": inertia} if known else {}, inertia if known else None, passed)

    def _build(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.inputs = Inputs(self, self.config.input, shape)

    def _sampled(self, vectors: np.ndarray) -> np.ndarray:
        wanted = self.config.input.sample
        if wanted is None or wanted >= len(vectors):
            return vectors
        chosen = torch.randperm(len(vectors), generator=generator("cpu", self.seed, "sample"))[:wanted]
        return vectors[chosen.sort().values.numpy()]

    def _fit(self, vectors: np.ndarray) -> np.ndarray:
        """Fit `fitted` and return the cluster 0, 1, ... of each vector, int64 (N,); `found` are its own labels of them."""
        settings = {name: value for name, value in self.config.model_dump(mode="json").items() if name != "input"}
        self.fitted = self.estimator.build(self.n_clusters, self.seed, self.device, settings)
        labels = self._asked(lambda: self.fitted.fit_predict(vectors))
        if labels.shape != (len(vectors),) or not np.issubdtype(labels.dtype, np.integer):
            raise MethodError(f"{self.name} gave {labels.dtype} {labels.shape} for {len(vectors)} images, not a cluster each.")
        self.found, clusters = np.unique(labels, return_inverse=True)
        if len(self.found) > self.n_clusters:
            outliers = ", its outliers one of them" if self.found[0] < 0 else ""
            raise MethodError(
                f"{self.name} found {len(self.found)} clusters{outliers}, and {self.n_clusters} are to be scored: "
                f"--clusters {len(self.found)}, or settings by which it finds fewer."
            )
        return clusters.astype(np.int64)

    def _asked(self, question: Any) -> np.ndarray:
        """What the clusterer answers; what it raises in one line."""
        try:
            return np.asarray(question())
        except MemoryError:
            raise MethodError(
                f"{self.name} needs more memory than there is. Fit it to fewer: --set input.sample=10000."
            ) from None
        except Exception as error:  # somebody else's code: whatever it raises, the user needs to know whose it is
            reason = (str(error).splitlines() or [""])[0]
            raise MethodError(f"{self.name} broke: {type(error).__name__}: {reason}") from error

    def predict_heads(self, images: Images) -> np.ndarray:
        """Cluster of each image, as it was found for those that it was fitted to: int64 (1, len(images))."""
        vectors = self.inputs.of(images)
        place = self.known.known(vectors)
        clusters = self.known.clusters[place]
        if (place < 0).any():
            clusters[place < 0] = self._of_new(vectors[place < 0])
        return clusters[None]

    def _of_new(self, vectors: np.ndarray) -> np.ndarray:
        if not hasattr(self.estimator.made_of, "predict"):
            return self.known.nearest(vectors)
        if not hasattr(self, "fitted"):
            self._fit_again()
        labels = self._asked(lambda: self.fitted.predict(vectors))
        clusters = np.searchsorted(self.found, labels).clip(max=len(self.found) - 1)
        strange = self.found[clusters] != labels  # a cluster that no image was found in
        clusters[strange] = self.known.nearest(vectors[strange])
        return clusters

    def _fit_again(self) -> None:
        """After `load_state_dict`: a clusterer is no tensor, and to unpickle one would be to run what a file says."""
        again = KnownImages(self.known.vectors, self._fit(self.known.vectors), self.device)
        if not np.array_equal(again.clusters, self.known.clusters):
            raise MethodError(f"{self.name} does not repeat itself with the same seed, so it cannot go on from a saved state.")

    def state_dict(self) -> State:
        """The images that it was fitted to as vectors, with their clusters, and the scaling."""
        return {"shape": list(self.shape), "inputs": self.inputs.state_dict(), "known": self.known.state_dict()}

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned. The clusterer is fitted again when it is first asked about a new image."""
        channels, height, width = state["shape"]
        self._build((channels, height, width))
        self.inputs.load_state_dict(state["inputs"])
        self.known = KnownImages.of(state["known"], self.device)


@register("sklearn:PATH")
@register("clustpy:PATH")
def wrapped(name: str) -> type[Wrapped]:
    """The method of a name such as `sklearn:sklearn.cluster.Birch`.

    Its module is that of the class, so that a record names the version of the package that it comes from.

    Raises:
        NotFound: no such class, or no clusterer.
    """
    estimator = Estimator(name.partition(":")[2])
    about = {"name": name, "Config": estimator.config(WrappedConfig), "estimator": estimator}
    return type(
        estimator.made_of.__name__, (Wrapped,), {**about, "__module__": estimator.made_of.__module__, "__doc__": Wrapped.__doc__}
    )
