"""Pairs that somebody else made, for methods that learn from pairs: vectors, spectra, texts as features, frames of a film.

Two samples are a pair if they should fall into the same cluster. `Pairs` holds them as `Images` holds images, and
`GivenViews` stands where `PairedViews` makes the pairs out of images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import numpy as np
import torch

from ..base import MethodError

# Samples (n, *shape) and a generator on their device, to one new partner for each: (n, *shape).
Partner: TypeAlias = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Samples and what each of them is paired with.

    Attributes:
        values: float32 (N, 1 + P, *shape): each sample, then the P partners that were given for it.
        partner: makes a new partner of every sample whenever one is needed; None where partners were given.
    """

    values: torch.Tensor
    partner: Partner | None = None

    @classmethod
    def of(cls, samples: Any, partners: Any = None) -> Pairs:
        """Pairs from arrays.

        Args:
            samples: (N, D), or (N, C, S, S) for the networks with convolutions; numbers that float32 can hold.
            partners: (N, *shape), one for each sample; (N, P, *shape), several; a `Partner` that makes them; or nothing, for
                samples that are only to be predicted.

        Raises:
            MethodError: another shape, no sample at all, or values that are not finite.
        """
        first = _numbers("samples", samples)
        if first.ndim not in (2, 4) or 0 in first.shape or first.shape[2:3] != first.shape[3:4]:
            raise MethodError(f"samples must be of shape (N, D) or (N, C, S, S), got {tuple(first.shape)}.")
        if partners is None or callable(partners):
            return cls(first[:, None], cast("Partner | None", partners))
        others = _numbers("partners", partners)
        others = others[:, None] if others.ndim == first.ndim else others
        if others.ndim != first.ndim + 1 or others.shape[:1] + others.shape[2:] != first.shape:
            raise MethodError(
                f"partners of samples {tuple(first.shape)} must have the same shape, or one more axis after the first for "
                f"several partners each; got {tuple(np.shape(partners))}."
            )
        return cls(torch.cat([first[:, None], others], dim=1))

    def __len__(self) -> int:
        return self.values.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return tuple(self.values.shape[2:])

    def to(self, device: str | torch.device) -> Pairs:
        """The same pairs on `device`."""
        return replace(self, values=self.values.to(device))

    def role(self, name: str) -> torch.Tensor:
        """Indices (int64) of the samples that train the head `name`: all of them."""
        return torch.arange(len(self), device=self.values.device)

    def order(self, role: str, size: int, random: torch.Generator | None = None) -> tuple[torch.Tensor, ...]:
        """Indices of one pass in batches of `size`, shuffled by `random`; the last one may be shorter."""
        if random is None:
            return self.role(role).split(size)
        return torch.randperm(len(self), generator=random, device=self.values.device).split(size)

    def batches(self, order: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """The samples at each of the indices of `order`, with their partners: (n, 1 + P, *shape)."""
        yield from (self.values.index_select(0, indices) for indices in order)


class GivenViews:
    """The two sides of given pairs, for batches (N, 1 + P, *shape) of `Pairs`.

    Args:
        shape: of one sample, (D,) or (C, S, S).
        partner: makes partners; None where they are given.

    Attributes:
        channels, size: what a trunk is built for; a flat sample of D numbers counts as D channels of 1x1.
    """

    def __init__(self, shape: tuple[int, ...], partner: Partner | None = None) -> None:
        self.shape, self.partner = shape, partner
        self.channels, self.size = shape[0], 1 if len(shape) == 1 else shape[-1]

    def original(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """The samples: float32 (N, *shape)."""
        return batch[:, 0]

    def copies(self, batch: torch.Tensor, repeats: int, random: torch.Generator) -> torch.Tensor:
        """Partners, `repeats` of each sample, all first ones, then all second ones: float32 (repeats * N, *shape).

        Raises:
            MethodError: fewer given partners than repeats, or a function that changes the samples' shape.
        """
        if self.partner is not None:
            samples = batch[:, 0].repeat(repeats, *[1] * len(self.shape))
            made = self.partner(samples, random)
            if made.shape != samples.shape:
                raise MethodError(f"The partners of samples {tuple(samples.shape)} came as {tuple(made.shape)}; keep the shape.")
            return made.to(samples)
        given = batch.shape[1] - 1
        if given < repeats:
            raise MethodError(
                f"repeats={repeats} needs as many partners of every sample, got {given}; set repeats={max(given, 1)}."
            )
        drawn = torch.rand(len(batch), given, generator=random, device=batch.device).argsort(1)[:, :repeats]  # (N, r)
        each = torch.arange(len(batch), device=batch.device)
        return batch[each[:, None], 1 + drawn].transpose(0, 1).flatten(0, 1)  # (r * N, *shape)

    def test(self, batch: torch.Tensor) -> torch.Tensor:
        """The samples: float32 (N, *shape)."""
        return batch[:, 0]


def _numbers(name: str, values: Any) -> torch.Tensor:
    try:
        tensor = torch.as_tensor(values, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise MethodError(f"{name} must be an array of numbers ({error}).") from None
    if not bool(torch.isfinite(tensor).all()):
        raise MethodError(f"{name} must be finite: replace what is missing (NaN) or infinite.")
    return tensor
