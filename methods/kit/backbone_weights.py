"""Somebody's trained weights for a backbone: a file of torch or safetensors, known by its checksum.

The names in such files have prefixes (`module.encoder_q.`, `backbone.`) and heads that the backbone does without. A file whose
weights are not all placed would leave some of the network random, and the accuracy at half of what it should be: so every
tensor of the backbone must be found, and every other tensor be known as no part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict
from torch import nn

from ..base import MethodError
from .backbones import TorchvisionBackbone
from .finetune_start import sha256_of

HEADS = {"fc", "head", "heads", "classifier", "linear", "projection", "projector", "predictor", "prototypes"}
HEADS |= {"contrastive_head", "cluster_head", "projection_head", "auxlogits", "aux1", "aux2"}
OTHERS = {"encoder_k", "momentum_encoder", "teacher", "queue", "queue_ptr", "queue_index"}  # MoCo's second network and its memory
CONTAINERS = ("state_dict", "model", "model_state_dict")  # keys of a checkpoint under which the weights lie
COUNTER = "num_batches_tracked"  # of batch norm: older files lack it, and nothing here uses it


class WeightsFile(BaseModel):
    """A file of weights. The checksum decides what they are; the path only says where they lie."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    sha256: str


def _as_file(given: Any) -> Any:
    """A path becomes a file with its checksum."""
    if not isinstance(given, (str, Path)):
        return given
    path = Path(given).expanduser().absolute()
    if not path.is_file():
        raise ValueError(f"there is no file of weights at {path}")
    return {"path": str(path), "sha256": sha256_of(path)}


GivenWeights = Annotated[WeightsFile, BeforeValidator(_as_file)]


def load_backbone(backbone: nn.Module, weights: WeightsFile) -> None:
    """Fill `backbone` with the weights of a file.

    Raises:
        MethodError: the file is gone, changed or unreadable, lacks a tensor of the backbone or has one of another shape, or
            holds one that belongs neither to it nor to a head.
    """
    path = Path(weights.path)
    if not path.is_file() or sha256_of(path) != weights.sha256:
        raise MethodError(
            f"weights: {path} is gone or not the file that this trial was made for. Give it again: --set weights=FILE."
        )
    wanted = backbone.model if isinstance(backbone, TorchvisionBackbone) else backbone
    wanted.load_state_dict(_placed(_tensors(path), wanted.state_dict(), path))


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors in a file by name, without what else a checkpoint holds (an optimiser's state, numbers)."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a reader of damaged bytes raises is not told by its interface
        raise MethodError(
            f"weights: {path} is neither a torch nor a safetensors file ({' '.join(str(error).split())[:120]})."
        ) from None
    for name in CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping):
        raise MethodError(f"weights: {path} holds no tensors by name. Save a state_dict.")
    return {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}


def _placed(given: dict[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """The tensor of `given` for each of `wanted`."""
    given = {name.replace(".shortcut.", ".downsample."): tensor for name, tensor in given.items()}  # SCAN's CIFAR network
    prefix = _prefix(given, wanted)
    placed = {name: given.get(prefix + name, held if name.endswith(COUNTER) else None) for name, held in wanted.items()}
    missing = [name for name, tensor in placed.items() if tensor is None]
    if missing:
        raise MethodError(
            f"weights: {path} lacks {_some(missing)} of the network. Is network.name the one they were trained for?"
        )
    other = [name for name, tensor in placed.items() if tensor is not None and tensor.shape != wanted[name].shape]
    if other:
        raise MethodError(f"weights: {path} has other shapes for {_some(other)}. Set network.name and network.stem as they were.")
    used = {prefix + name for name in wanted}
    stray = [name for name in given if name not in used and not _is_known(name)]
    if stray:
        raise MethodError(f"weights: {path} holds {_some(stray)}, which the network has no place for. It is of another network.")
    return {name: tensor for name, tensor in placed.items() if tensor is not None}


def _prefix(given: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> str:
    """What stands before the names of `wanted` in `given`: the one under which most are found, MoCo's second network apart."""
    first = next(iter(wanted))
    before = [name[: -len(first)] for name in given if name.endswith(first) and not OTHERS & set(name.split("."))]
    ends = (prefix for prefix in before if not prefix or prefix.endswith("."))
    return max(ends, key=lambda prefix: sum(prefix + name in given for name in wanted), default="")


def _is_known(name: str) -> bool:
    """Whether a tensor is of a head, or of MoCo's second network or memory."""
    return bool({part.lower() for part in name.split(".")} & (HEADS | OTHERS))


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
