"""Protocols: which splits train which part of a method, which find the mapping from clusters to classes, which are scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .errors import DataError


@dataclass(frozen=True)
class Scheme:
    """One protocol of one data set. Splits are named in the order in which their images stand in the roles.

    Attributes:
        main: splits that train the main head.
        auxiliary: splits that train the auxiliary (over-clustering) head.
        mapping: splits whose labels find the mapping from clusters to classes.
        scored: splits whose images are judged.
        interleave: two splits that take turns in every head that trains on both: one image of the first, then as many of
            the second as there are for each of the first. IIC's authors mixed STL-10 so (1 train image, then 20 unlabelled
            ones).
        summary: in one line.
    """

    main: tuple[str, ...]
    auxiliary: tuple[str, ...]
    mapping: tuple[str, ...]
    scored: tuple[str, ...]
    interleave: tuple[str, ...] = ()
    summary: str = ""

    @property
    def trunk(self) -> tuple[str, ...]:
        """Splits whose images train the trunk: those of any head, in the stored order of `auxiliary` and `main`."""
        return tuple(dict.fromkeys((*self.main, *self.auxiliary)))

    @property
    def needed(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.trunk, *self.mapping, *self.scored)))

    def among(self, present: Iterable[str]) -> Scheme:
        """The same protocol with only the splits that are `present`."""
        there = set(present)
        kept = {name: tuple(split for split in getattr(self, name) if split in there) for name in _ROLES}
        both = set(self.interleave) <= there
        return Scheme(**kept, interleave=self.interleave if both else (), summary=self.summary)

    def as_json(self) -> dict[str, Any]:
        """For a record: the splits of every role."""
        roles = {name: list(value) for name, value in asdict(self).items() if name != "summary" and value}
        return {"trunk": list(self.trunk), **roles}


_ROLES = ("main", "auxiliary", "mapping", "scored")
_STANDARD = ("full", "split", "semi-supervised")


def schemes(card: Mapping[str, Any], splits: Sequence[str]) -> dict[str, Scheme]:
    """The protocols of a data set by name, as its card gives them.

    A card's `protocols` is a mapping from names to roles, or a list of standard names: `full` trains on all splits and
    scores all of them; `split` trains on `train` and scores `test`; `semi-supervised` does so too, but finds the mapping
    from clusters to classes with the labels of `train`. Without it a data set has `full`, and the others if it has these
    two splits.

    Raises:
        DataError: an unknown role or split, or a list that names another protocol.
    """
    everything = tuple(splits)
    standard = {"full": Scheme(everything, everything, everything, everything, summary="train and score on all images")}
    if {"train", "test"} <= set(splits):
        train, test = ("train",), ("test",)
        standard["split"] = Scheme(train, train, test, test, summary="train on train, score on test")
        mapped = "train on train without labels, find the mapping with its labels, score on test"
        standard["semi-supervised"] = Scheme(train, train, train, test, summary=mapped)
    given = card.get("protocols")
    if given is None:
        return standard
    if isinstance(given, Mapping):
        return {name: _scheme(name, dict(roles), everything) for name, roles in given.items()}
    unknown = [name for name in given if name not in _STANDARD]
    if unknown:
        raise DataError(f"Protocol {unknown[0]!r} is no standard one ({', '.join(_STANDARD)}). Give its roles in the card.")
    return {name: standard[name] for name in given if name in standard}


def _scheme(name: str, roles: dict[str, Any], splits: tuple[str, ...]) -> Scheme:
    try:
        summary = str(roles.pop("summary", ""))
        scheme = Scheme(**{role: tuple(value) for role, value in roles.items()}, summary=summary)
    except TypeError as error:
        raise DataError(f"Protocol {name!r} needs main, auxiliary, mapping and scored ({error}). Mend the card.") from None
    unknown = [split for split in scheme.needed if split not in splits]
    if unknown:
        raise DataError(f"Protocol {name!r} names the split {unknown[0]!r}, there are {', '.join(splits)}. Mend the card.")
    return scheme


def interleaved(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """One of `first`, then len(second) // len(first) of `second`, and so on; what is left of `second` comes last.

    Args:
        first, second: int64 indices.
    """
    each = max(len(second) // max(len(first), 1), 1)
    whole = min(len(first), len(second) // each)
    mixed = np.concatenate([first[:whole, None], second[: whole * each].reshape(whole, each)], axis=1).ravel()
    return np.concatenate([mixed, first[whole:], second[whole * each :]])
