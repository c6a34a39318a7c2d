"""What a trial does not take on trust: that its parts belong together, and what a method hands out."""

from __future__ import annotations

import numpy as np

from ..datasets.base import DataError, Images, TrialData
from ..methods.base import Diverged, Epoch, Method, MethodError
from ..methods.registry import methods
from .selection import smallest
from .spec import TrialSpec


def check_fit(spec: TrialSpec, data: TrialData) -> None:
    """Refuse to file a result under a spec that it does not belong to."""
    for name, wanted, found in (
        ("data set", spec.dataset, data.name),
        ("protocol", spec.protocol, data.protocol),
        ("fingerprint of the data", spec.data_fingerprint, data.fingerprint),
    ):
        if wanted != found:
            raise DataError(f"This trial was made for the {name} {wanted!r}, the data is {found!r}. Make a new spec for it.")
    roles = data.about.get("roles", {})
    if roles.get("mapping") != roles.get("scored"):
        found, judged = (" and ".join(roles.get(role, ())) for role in ("mapping", "scored"))
        raise DataError(
            f"Protocol {data.protocol!r} of {data.name} finds the mapping on {found} and scores {judged}, "
            "which no trial can do yet. Use --protocol full."
        )
    installed = methods.get(spec.method).version
    if spec.method_version != installed:
        raise MethodError(f"This trial is of version {spec.method_version} of {spec.method}; version {installed} is installed.")


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


def checked_predictions(method: Method, images: Images, shape: tuple[int, ...]) -> np.ndarray:
    """The clusters by every sub-head in the smallest integer type. Raises `MethodError` if they are not what they must be.

    Args:
        method: the method, at the end of an epoch.
        images: what is scored.
        shape: of the labels, (len(images),) for whole images.
    """
    found = np.asarray(method.predict_heads(images))
    if found.ndim < 2 or found.shape[1:] != shape or not np.issubdtype(found.dtype, np.integer):
        wanted = f"integers of shape (H, {', '.join(map(str, shape))})"
        raise MethodError(f"{method.name}: predict_heads gave {found.dtype} {found.shape}, not {wanted}.")
    if found.size and (found.min() < 0 or found.max() >= method.n_clusters):
        raise MethodError(f"{method.name}: predict_heads gave clusters {found.min()}..{found.max()} of {method.n_clusters}.")
    if not 0 <= method.chosen_head < len(found):
        raise MethodError(f"{method.name} chose sub-head {method.chosen_head} of {len(found)}.")
    return smallest(found, method.n_clusters)
