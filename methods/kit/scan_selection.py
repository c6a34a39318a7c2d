"""What chooses among the epochs and heads of SCAN: the selection loss on some images, which needs no label."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from ...datasets.base import Images
from .arithmetic import Arithmetic
from .randomness import generator
from .scan_losses import selection_loss


@dataclass(frozen=True)
class Rest:
    """A network at rest on the test view of images.

    Attributes:
        view: makes the test view of a uint8 batch.
        arithmetic: where and how precisely it computes.
        batch: images in a batch.
    """

    view: Callable[[torch.Tensor], torch.Tensor]
    arithmetic: Arithmetic
    batch: int

    @torch.inference_mode()
    def probabilities(self, network: Any, images: Images, indices: torch.Tensor) -> torch.Tensor:
        """Cluster probabilities (H, n, K) of the images at `indices` (n,), by a network that gives logits (H, B, K)."""
        network.eval()
        parts: Iterable[torch.Tensor] = images.batches(indices.split(self.batch))
        return torch.cat([self.arithmetic(network, self.view(each)).softmax(-1) for each in parts], dim=1)


class Selection:
    """The images that choose, and who is near them.

    Args:
        images: they are among these.
        indices: which ones, (n,).
        neighbours: int64 (n, J + 1), positions in `indices`; the first column is the image itself.
        rest: how the network is asked.
    """

    def __init__(self, images: Images, indices: torch.Tensor, neighbours: torch.Tensor, rest: Rest) -> None:
        self.images, self.indices, self.neighbours, self.rest = images, indices, neighbours, rest

    def __len__(self) -> int:
        return len(self.indices)

    def losses(self, network: Any) -> torch.Tensor:
        """The selection loss of every head: (H,), lower is better."""
        return selection_loss(self.rest.probabilities(network, self.images, self.indices), self.neighbours)


def drawn(indices: torch.Tensor, at_most: int | None, seed: int) -> torch.Tensor:
    """`indices`, or if they are more, `at_most` of them, drawn by `seed`, in their order."""
    if at_most is None or len(indices) <= at_most:
        return indices
    random = generator("cpu", seed, "selection")  # the same ones on every device
    rows = torch.randperm(len(indices), generator=random)[:at_most].sort().values
    return indices[rows.to(indices.device)]
