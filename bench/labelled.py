"""The way of labels into a training, for the methods that say they want some and under the protocol that gives them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from ..datasets.base import DataError, Labelled, TrialData
from ..methods.base import Epoch, LabelledMethod, Method
from .spec import check_protocol


def training(method: Method, data: TrialData) -> Iterator[Epoch]:
    """The epochs of `method` on the training images of `data`; no other method than a `LabelledMethod` gets a label.

    Raises:
        SpecError: a method that learns from labels, and a protocol that gives it none.
        DataError: the data has no labels for it, or not one for every image.
    """
    if method.wants_scored:
        method.scored = data.score
    if not isinstance(method, LabelledMethod):
        return method.train(data.train)
    check_protocol(method.name, data.protocol)
    if data.mapping is None:
        raise DataError(f"{method.name} learns from labels, and {data.name} has none beside those that are scored.")
    labels = np.asarray(data.mapping_labels)
    if labels.ndim != 1 or (labels < 0).any():
        splits = " and ".join(data.about.get("roles", {}).get("mapping", ()))
        raise DataError(f"{method.name} needs one label for every image of {splits}, and {data.name} has not all of them.")
    return method.train_labelled(data.train, Labelled(data.mapping, torch.from_numpy(labels).to(data.mapping.device)))
