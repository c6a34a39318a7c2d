"""Features of a contrastive network that another trial trained and kept in the store of artefacts."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from pydantic import ValidationError
from torch.nn import functional

from ...datasets.base import Images
from ..base import MethodError
from .arithmetic import Arithmetic
from .artefacts import Artefacts
from .backbones import BackboneSettings, build_backbone
from .contrastive_views import SimCLRViews, SimCLRViewSettings
from .simclr import ContrastiveNetwork

KIND = "pretext"
PROJECTION = "projection"


def is_pretext(weights: str | None) -> bool:
    """Whether `weights` names a network of the store, as `bench cache list` writes it, and no file."""
    return weights is not None and weights.startswith(f"{KIND}/")


class PretextFeatures:
    """A network of the store, at rest, applied to its own test view.

    Args:
        address: `pretext/KEY` for what the backbone gives, `pretext/KEY/projection` for what the projection after it gives.
        shape: (C, H, W) of the images, which must be that of the images it was trained on.
        device: where it runs.
        batch: images in a batch.
        store: where it is looked for, and noted as used.

    Raises:
        MethodError: the store has no such network, or it is one for other images.
    """

    def __init__(self, address: str, shape: tuple[int, int, int], device: str, batch: int, store: Artefacts) -> None:
        _, _, key = address.partition("/")
        key, _, layer = key.partition("/")
        if layer not in ("", PROJECTION):
            raise MethodError(f"network.weights: {address} names no layer. Write pretext/KEY or pretext/KEY/projection.")
        facts, tensors = store.facts(KIND, key), store.load(KIND, key)
        if facts is None or tensors is None:
            raise MethodError(_absent(key, store))
        self.address, self.batch, self.arithmetic = address, batch, Arithmetic(device)
        network = self._filled(facts, tensors, shape)
        self.network = network if layer else network.trunk
        self.arithmetic.ready(self.network).eval()

    @torch.inference_mode()
    def of(self, images: Images, role: str = "all") -> torch.Tensor:
        """Features of unit length of the images of a role: float32 (N, D), on the device."""
        order = images.order(role, self.batch)
        parts = [self.arithmetic(self.network, self.views.test(batch)) for batch in images.batches(order)]
        return functional.normalize(torch.cat(parts), dim=1)

    def _filled(self, facts: dict[str, Any], tensors: dict[str, torch.Tensor], shape: tuple[int, int, int]) -> ContrastiveNetwork:
        """The network as its facts describe it, with the weights of the store."""
        if tuple(facts.get("shape", ())) != tuple(shape):
            trained = "x".join(map(str, facts.get("shape", "?")))
            given = "x".join(map(str, shape))
            raise MethodError(f"network.weights: {self.address} was trained on images of {trained}; these are of {given}.")
        try:
            self.views = SimCLRViews(SimCLRViewSettings.model_validate(facts["views"]), shape)
            settings = BackboneSettings.model_validate(facts["network"])
            trunk = build_backbone(settings, self.views.channels, self.views.size, seed=0)  # its random weights go at once
            network = ContrastiveNetwork(trunk, len(tensors["projection.2.bias"]))
            network.load_state_dict(tensors)
        except (KeyError, RuntimeError, ValidationError) as error:
            told = str(error).splitlines()[0]
            raise MethodError(f"network.weights: {self.address} is no network that this version can build ({told}).") from None
        return network


def _absent(key: str, store: Artefacts) -> str:
    known = [entry.key for entry in store.entries() if entry.kind == KIND]
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"Did you mean {KIND}/{near[0]}?" if near else f"See 'bench cache list --kind {KIND}'; a trial of scan makes one."
    return f"network.weights: there is no {KIND}/{key} in {store.root}. {hint}"
