"""What IMC-SwAV's classifier learns from, collected over batches that hold only few of its images."""

from __future__ import annotations

from collections.abc import Sequence

import torch


class FeatureBank:
    """Detached features and similarities of the classifier's images, until there are enough of them for one step.

    On STL-10 a batch of 256 holds about twelve of the 5,000 images that the classifier is trained on. What is stored first
    comes from a slightly older trunk. Where every image trains the classifier, each batch fills the bank at once.
    """

    def __init__(self) -> None:
        self.clear()

    def __len__(self) -> int:
        """Images in it."""
        return self._count

    def add(self, features: torch.Tensor, similarities: torch.Tensor, members: torch.Tensor | None) -> None:
        """Store those of a batch.

        Args:
            features: (V, N, D).
            similarities: (V, N, P).
            members: int64 positions (n,) of the classifier's images in the batch; None for all.
        """
        if members is not None:
            features, similarities = features[:, members], similarities[:, members]
        self._features.append(features.detach())
        self._similarities.append(similarities.detach())
        self._count += features.shape[1]

    def take(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All features (V, M, D) and similarities (V, M, P); the bank is empty afterwards."""
        taken = torch.cat(self._features, dim=1), torch.cat(self._similarities, dim=1)
        self.clear()
        return taken

    def clear(self) -> None:
        """Forget everything, as at the beginning of an epoch."""
        self._features: list[torch.Tensor] = []
        self._similarities: list[torch.Tensor] = []
        self._count = 0


def positions_in_batches(order: Sequence[torch.Tensor], members: torch.Tensor, total: int) -> list[torch.Tensor]:
    """For each batch of image indices in `order`, the int64 positions in it of the images that are among `members`.

    Args:
        order: int64 indices, a tensor per batch.
        members: int64 indices of the images to be found.
        total: number of all images.

    They are found on the CPU for the whole epoch at once, so that no step waits for the device.
    """
    belongs = torch.zeros(total, dtype=torch.bool)
    belongs[members.cpu()] = True
    found = [belongs[batch.cpu()].nonzero().squeeze(1) for batch in order]
    return [positions.to(batch.device) for positions, batch in zip(found, order, strict=True)]
