"""Names to objects, without importing what is behind a name until it is asked for.

Each module of a room may have a YAML *card file* beside it (`iic.py`, `iic.yaml`): a mapping from public names to
cards (title, summary, citation, ...). Listing reads only cards, so that `bench list` never imports torch. Other
people's packages add names through an entry-point group; they appear in the same lists.

A card with `family: true` stands for many names: that of `sklearn:PATH` for every `sklearn:...`. What its module registers is
a function that makes the thing of such a name.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")
Thing = TypeVar("Thing")
Card = dict[str, Any]


class NotFound(LookupError):
    """A name that nothing is registered under. The message names the nearest ones and where to list all of them."""

    def __str__(self) -> str:
        return str(self.args[0])


def not_found(kind: str, asked: str, known: list[str], where: str) -> NotFound:
    """The three-part answer to an unknown name: what was asked, the nearest names, where all of them are listed."""
    near = difflib.get_close_matches(asked, known, n=3, cutoff=0.55)
    guess = f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else f" Known: {', '.join(known)}."
    return NotFound(f"Unknown {kind} {asked!r}.{guess} See '{where}'.")


class Registry(Generic[T]):
    """The names of one kind of thing: ours from card files in `folder`, other people's from an entry-point group.

    Args:
        kind: what an entry is called in messages, e.g. `"method"`.
        package: import path of the room that holds our modules, e.g. `"clusterbench.methods"`.
        folder: where the card files of that room lie.
        group: entry-point group that other packages use, e.g. `"clusterbench.methods"`.
    """

    def __init__(self, kind: str, package: str, folder: Path, group: str) -> None:
        self.kind, self.package, self.folder, self.group = kind, package, folder, group
        self._loaded: dict[str, T] = {}
        self._made: dict[str, T] = {}  # of families

    @cached_property
    def _ours(self) -> dict[str, tuple[str, Card]]:
        """name -> (module, card) for every card in the room's own files."""
        found: dict[str, tuple[str, Card]] = {}
        for path in sorted(self.folder.glob("*.yaml")):
            for name, card in read_cards(path).items():
                found[name] = (f"{self.package}.{path.stem}", card)
        return found

    @cached_property
    def _theirs(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}

    def names(self) -> list[str]:
        """Every name: ours in alphabetical order, then other packages', then those registered by hand."""
        every = dict.fromkeys([*sorted(self._ours), *sorted(self._theirs), *self._loaded])
        return [name for name in every if name not in self.families]

    @cached_property
    def families(self) -> dict[str, Card]:
        """The cards of what stands for many names, such as `sklearn:PATH`; no name itself."""
        return {name: card for name, (_, card) in sorted(self._ours.items()) if card.get("family")}

    def __contains__(self, name: str) -> bool:
        """Whether `name` is one of `names` or belongs to a family, whatever comes of it when it is loaded."""
        return name in self._ours or name in self._theirs or name in self._loaded or self._family(name) is not None

    def _family(self, name: str) -> str | None:
        """The family of `sklearn:sklearn.cluster.Birch`; None for the name of one thing."""
        kind, colon, path = name.partition(":")
        known = [family for family in self.families if family.partition(":")[0] == kind and name != family]
        return known[0] if colon and path and known else None

    def card(self, name: str) -> Card:
        """The card of `name` without importing its module; for an entry point, what its package says of itself."""
        self._check(name)
        family = self._family(name)
        if family:
            return {**self._ours[family][1], "title": name.rpartition(".")[2]}
        if name in self._ours:
            return self._ours[name][1]
        if name in self._theirs:
            distribution = self._theirs[name].dist
            package = distribution.name if distribution else self._theirs[name].value
            return {"title": name, "summary": f"from the package {package}", **self._card_beside(name)}
        return {"title": name, "summary": "registered in this process", **self._card_beside(name)}

    def get(self, name: str) -> T:
        """Import what stands behind `name`. Raises `NotFound` for an unknown name."""
        family = self._family(name)
        if family:
            return self._of_family(family, name)
        self._check(name)
        if name not in self._loaded:
            if name in self._ours:
                importlib.import_module(self._ours[name][0])
            else:
                self._loaded.setdefault(name, self._load_theirs(name))
        if name not in self._loaded:
            raise NotFound(f"The {self.kind} {name!r} has a card but its module {self._ours[name][0]} registers no such name.")
        return self._loaded[name]

    def _of_family(self, family: str, name: str) -> T:
        if name not in self._made:
            importlib.import_module(self._ours[family][0])
            self._made[name] = cast("Callable[[str], T]", self._loaded[family])(name)
        return self._made[name]

    def _load_theirs(self, name: str) -> T:
        try:
            return self._theirs[name].load()
        except Exception as error:  # somebody else's code: whatever it raises, the user needs to know whose it is
            package = self.card(name)["summary"]
            raise NotFound(f"The {self.kind} {name!r}, {package}, cannot be loaded: {type(error).__name__}: {error}") from error

    def register(self, name: str) -> Callable[[Thing], Thing]:
        """Decorator: `@register("iic")`. A second meaning for a name is refused."""

        def keep(thing: Thing) -> Thing:
            known = self._loaded.get(name)
            if known is not None and known is not thing and _origin(known) != _origin(thing):
                raise ValueError(
                    f"The {self.kind} name {name!r} is taken by {_origin(known)}; {_origin(thing)} needs another name."
                )
            self._loaded[name] = cast(T, thing)
            return thing

        return keep

    def _check(self, name: str) -> None:
        if name in self.families:
            raise NotFound(f"{name!r} stands for many names, such as {self._ours[name][1]['example']!r}.")
        if name not in self:
            known = [*self.names(), *self.families]
            raise not_found(self.kind, name, known, f"bench list {self.kind.replace(' ', '')}s")

    def _card_beside(self, name: str) -> Card:
        """The card of somebody else's module, from a YAML file beside it, once the module is loaded."""
        if name not in self._loaded:
            return {}
        point = self._theirs.get(name)
        module = importlib.import_module(point.module if point else getattr(self._loaded[name], "__module__", self.package))
        beside = Path(module.__file__).with_suffix(".yaml") if module.__file__ else None
        return read_cards(beside).get(name, {}) if beside and beside.is_file() else {}


def read_cards(path: Path) -> dict[str, Card]:
    """The cards of one file, by public name. Raises `NotFound` for a file that is no YAML."""
    import yaml  # here, because most commands never list anything

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=loader) or {}
    except yaml.YAMLError as error:
        raise NotFound(f"The card file {path} is damaged ({' '.join(str(error).split())}). Install the package anew.") from None


def _origin(thing: object) -> str:
    return f"{getattr(thing, '__module__', '?')}.{getattr(thing, '__qualname__', repr(thing))}"
