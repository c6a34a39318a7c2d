"""What a trial does not take on trust: that its parts belong together, and what a method hands out."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..datasets.base import DataError, TrialData
from ..methods.base import Diverged, Epoch, Method, MethodError
from ..methods.registry import methods
from .selection import smallest
from .spec import TrialSpec, check_classes, check_protocol


def check_fit(spec: TrialSpec, data: TrialData) -> None:
    """Refuse to file a result under a spec that it does not belong to, and a method that the protocol does not suit."""
    for name, wanted, found in (
        ("data set", spec.dataset, data.name),
        ("protocol", spec.protocol, data.protocol),
        ("fingerprint of the data", spec.data_fingerprint, data.fingerprint),
    ):
        if wanted != found:
            raise DataError(f"This trial was made for the {name} {wanted!r}, the data is {found!r}. Make a new spec for it.")
    installed = methods.get(spec.method).version
    if spec.method_version != installed:
        raise MethodError(f"This trial is of version {spec.method_version} of {spec.method}; version {installed} is installed.")
    check_protocol(spec.method, data.protocol)
    check_classes(spec.method, spec.n_clusters, data)


def checked_losses(epoch: Epoch, epochs_before: int, method: str) -> dict[str, float | list[float]]:
    """The losses as plain numbers. Raises `Diverged` for one that is not finite, `MethodError` for an epoch out of order."""
    if epoch.number != epochs_before + 1:
        hint = "load_state_dict must make train go on with the next epoch." if epochs_before else "The first is number 1."
        raise MethodError(f"{method} yielded epoch {epoch.number} after epoch {epochs_before}. {hint}")
    losses = {name: [float(v) for v in loss] if isinstance(loss, list) else float(loss) for name, loss in epoch.losses.items()}
    criterion = {} if epoch.criterion is None else {"criterion": float(epoch.criterion)}
    for name, value in (losses | criterion).items():
        if not np.isfinite(value).all():
            raise Diverged(f"{method}: {name} is {value} in epoch {epoch.number}. Lower the learning rate or check the images.")
    return losses


def checked_part(method: Method, found: Any, left: tuple[int, ...], heads: int | None, lowest: int = 0) -> np.ndarray:
    """Some images' clusters by every sub-head, in the smallest integer type.

    Args:
        method: the method, at the end of an epoch.
        found: what `predict_batches` gave.
        left: shape of the labels that this part and those after it have: (n,), or (n, height, width) per pixel.
        heads: number of sub-heads in the parts before; None for the first.
        lowest: the lowest value that may be: 0, or -1 where pixels may be left out.

    Raises `MethodError` if they are not what they must be.
    """
    part = np.asarray(found)
    shaped = part.ndim == len(left) + 1 and part.shape[2:] == left[1:] and 0 < part.shape[1] <= left[0]
    if not shaped or not np.issubdtype(part.dtype, np.integer):
        raise wrong_predictions(method, part.dtype, part.shape, left)
    if part.size and (part.min() < lowest or part.max() >= method.n_clusters):
        raise MethodError(f"{method.name}: predict_heads gave clusters {part.min()}..{part.max()} of {method.n_clusters}.")
    if heads is not None and len(part) != heads:
        raise MethodError(f"{method.name}: predict_batches gave {len(part)} sub-heads after {heads}.")
    return smallest(part, method.n_clusters)


def wrong_predictions(method: Method, dtype: np.dtype, shape: tuple[int, ...], labels: tuple[int, ...]) -> MethodError:
    """The error of predictions that are not one for each of labels of that shape."""
    wanted = f"integers of shape (H, {', '.join(map(str, labels))})"
    return MethodError(f"{method.name}: predict_heads gave {dtype} {shape}, not {wanted}.")


def check_chosen_head(method: Method, heads: int) -> None:
    """Raise `MethodError` for a sub-head that there is not."""
    if not 0 <= method.chosen_head < heads:
        raise MethodError(f"{method.name} chose sub-head {method.chosen_head} of {heads}.")
