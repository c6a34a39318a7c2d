"""What a run has learned, kept in its record so that it can label other images (`predictor.py` reads it again).

The network's weights are `model.safetensors`, as other programs read them. All else that predicting takes (centres, scalings,
the losses that choose the sub-head, ...) is `trained.pt`: the method's `state_dict` without those weights and without what
optimisers remember.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..methods.base import Method, MethodError, State
from ..results.files import replace_file
from .checkpoint import check_storable, save_weights

FORMAT = 1
FILE, WEIGHTS = "trained.pt", "model.safetensors"
MOST_BYTES = 256 << 20
"""Beside the weights: a method that compares with all its training images may need more, and then keeps nothing."""
log = logging.getLogger(__name__)


def save_trained(method: Method, folder: Path) -> None:
    """Write `model.safetensors`, where the method has a network, and `trained.pt` into a record folder.

    A state that cannot be stored, or takes too much room, costs the prediction of other images, not the trial: the log says so.
    Raises `RecordError` if the disk refuses.
    """
    state = method.state_dict()
    model = state.get("model")
    if isinstance(model, Mapping):
        save_weights(model, folder / WEIGHTS)
        state = {**state, "model": _outline(model)}
    state = _without_memories(state)
    size = _bytes(state)
    if size > MOST_BYTES:
        log.warning("%s: what it needs to label other images takes %s MB and is not kept.", method.name, f"{size / 1e6:,.0f}")
        state, kept = {}, False
    else:
        state, kept = _storable(state, method.name)
    content = {"format": FORMAT, "method": method.name, "version": method.version, "kept": kept, "bytes": size, "state": state}
    written = io.BytesIO()  # torch's own writer hides what a full disk says
    torch.save(content, written)
    replace_file(folder / FILE, written.getvalue())


def _outline(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The tree of a network's state with the names of tensors in `model.safetensors` in their place; other values in a list."""
    outline: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            outline[key] = _outline(value, f"{name}.")
        else:
            outline[key] = name if isinstance(value, torch.Tensor) else [value]
    return outline


def _without_memories(tree: Any) -> Any:
    """`tree` with the moments of every torch optimiser in it left out: they are most of the bytes, and predict nothing."""
    if not isinstance(tree, Mapping):
        return tree
    if set(tree) == {"state", "param_groups"}:
        return {"state": {}, "param_groups": tree["param_groups"]}
    return {key: _without_memories(value) for key, value in tree.items()}


def _bytes(tree: Any) -> int:
    if isinstance(tree, torch.Tensor):
        return tree.numel() * tree.element_size()
    if isinstance(tree, Mapping):
        return sum(map(_bytes, tree.values()))
    return sum(map(_bytes, tree)) if isinstance(tree, (list, tuple)) else 0


def _compact(tree: Any) -> Any:
    """Every tensor on the CPU by itself: a view would be saved with all that it is a view of."""
    if isinstance(tree, torch.Tensor):
        return tree.detach().cpu().clone(memory_format=torch.contiguous_format)
    if isinstance(tree, Mapping):
        return {key: _compact(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(map(_compact, tree)) if type(tree) in (list, tuple) else [*map(_compact, tree)]
    return tree


def _storable(state: State, name: str) -> tuple[State, bool]:
    compact = _compact(state)
    try:
        check_storable(compact, "state_dict()")
    except MethodError as error:
        log.warning("%s: what it needs to label other images is not kept: %s", name, error)
        return {}, False
    return compact, True
