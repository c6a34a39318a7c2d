"""Pretext networks, features and neighbours, kept where other trials find them: a content-addressed store in a folder.

What takes hours and depends on nothing but its recipe is made once: the same SimCLR network serves all seeds of SCAN, k-means
on its features, and other methods. The key is a hash of the recipe (images, settings, seed), so nothing is found that was
made otherwise. Several processes and machines may share the folder::

    store = Artefacts.of(self)  # what it takes and makes is noted in the record
    key = artefact_key("features", images=images_id(images), network=settings, seed=seed)
    tensors = store.obtain("features", key, facts, lambda: {"features": network(images)})

The store only saves work: where it cannot be read or written, one line in the log says so and the trial goes on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .artefact_claims import claimed, is_claimed
from .artefact_files import FACTS, Artefact, describe, read_artefact, read_facts, reason, write_artefact

if TYPE_CHECKING:  # `bench cache list` reads no tensor, so it need not import torch
    import torch

    from ...datasets.base import Images
    from ..base import Method

VARIABLE = "CLUSTERBENCH_CACHE"
FORMAT = 1  # raised with every change of what a key is made of, or of the files
KINDS = ("pretext", "features", "neighbours", "base")
BLOCK = 2**24  # bytes of pixels that are hashed at a time
LEFT_OVER = 24 * 3600.0  # seconds after which what a writer left half done is taken away
log = logging.getLogger(__name__)


def store_root() -> Path:
    """$CLUSTERBENCH_CACHE, else `clusterbench/artefacts` in the user's cache directory ($XDG_CACHE_HOME, else ~/.cache)."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "clusterbench" / "artefacts"


def named_root() -> str | None:
    """The absolute path of $CLUSTERBENCH_CACHE, for processes that start elsewhere; None if nothing is named."""
    return str(store_root().absolute()) if os.environ.get(VARIABLE) else None


def use_root(root: Path | str | None) -> None:
    """From now on the store of this process, and of those that it starts, is in the folder `root`; None changes nothing."""
    if root is not None:
        os.environ[VARIABLE] = str(Path(root).expanduser().absolute())


def artefact_key(kind: str, **facts: Any) -> str:
    """The key of what this recipe makes: 24 hex digits of a hash of the canonical JSON of `facts`.

    Args:
        kind: see `KINDS`.
        **facts: everything that decides the result, and nothing else (no path, no device): numbers, texts, None, pydantic
            settings, and mappings or sequences of them. Images by their `images_id`.

    Raises:
        TypeError: a fact that is none of these.
        ValueError: NaN or infinity.
    """
    recipe = {"format": FORMAT, "kind": kind, "facts": _plain(facts)}
    canonical = json.dumps(recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:24]


def images_id(images: Images) -> str:
    """Hash of all that decides what a method sees of `images`: pixels, extents, window, masks, and which image has which role.

    32 hex digits, the same on every device. The pixels are read once, in blocks; the answer is kept on the object.
    """
    known = getattr(images, "_content_id", None)
    if known is None:
        known = _hash_of(images)
        object.__setattr__(images, "_content_id", known)  # frozen, and the content never changes
    return known


class Artefacts:
    """The store in one folder.

    Args:
        root: the folder, made when something is saved; `store_root()` by default.
        used: list that the name of everything taken from the store is added to, once.
        made: likewise of everything saved. What stands in it was made by the same trial, and taking it again is no reuse.
    """

    def __init__(self, root: Path | str | None = None, *, used: list[str] | None = None, made: list[str] | None = None) -> None:
        self.root = Path(root).expanduser() if root is not None else store_root()
        self.used: list[str] = [] if used is None else used
        self.made: list[str] = [] if made is None else made

    @classmethod
    def of(cls, method: Method) -> Artefacts:
        """The default store, for a method: what it takes and makes stands in the trial's record."""
        return cls(used=method.artefacts_used, made=method.artefacts_made)

    def path(self, kind: str, key: str) -> Path:
        """The folder that an artefact has, or would have."""
        return self.root / kind / key

    def load(self, kind: str, key: str) -> dict[str, torch.Tensor] | None:
        """The tensors of an artefact, on the CPU; None if it is not here.

        They are compared with their checksum. A damaged one is named in the log and deleted, so that it is made anew.
        """
        folder = self.path(kind, key)
        if not folder.is_dir():
            return None
        try:
            tensors = read_artefact(folder)
        except FileNotFoundError as error:
            if not folder.is_dir():  # pruned just now
                return None
            return self._give_up(kind, key, error)
        except Exception as error:  # what a reader of damaged bytes raises is not told by its interface
            return self._give_up(kind, key, error)
        with suppress(OSError):
            os.utime(folder / FACTS)  # for prune: it was used
        name = f"{kind}/{key}"
        if name not in self.made and name not in self.used:
            self.used.append(name)
        return tensors

    def facts(self, kind: str, key: str) -> dict[str, Any] | None:
        """What the maker of an artefact said of it; None if it is not here or cannot be read."""
        about = read_facts(self.path(kind, key))
        return None if about is None else about["facts"]

    def save(self, kind: str, key: str, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Keep `tensors`. Others see all of it or nothing; if it is there already (somebody was faster), that one stays.

        Where the disk refuses (full, read-only), one line in the log says so, and the next who needs it makes it again.

        Args:
            kind, key: its address.
            tensors: by name, on any device.
            facts: what people want to know of it, as `artefact_key` takes it: the recipe, and `seconds` that making it took.
        """
        from safetensors import SafetensorError

        name, beside = f"{kind}/{key}", self.root / kind / f".{key}.{uuid.uuid4().hex}.tmp"
        if name not in self.made:
            self.made.append(name)
        try:
            beside.mkdir(parents=True)
            write_artefact(beside, {"kind": kind, "key": key, "facts": _plain(facts)}, tensors)
            self._put(beside, self.path(kind, key))
        except (OSError, SafetensorError) as error:
            log.warning("%s cannot be kept in %s: %s. Others will have to make it again.", name, self.root, reason(error))
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    @contextmanager
    def claim(self, kind: str, key: str) -> Iterator[None]:
        """Inside, this process is the only one that makes the artefact; others wait. `load` it again before making it.

        An owner that is gone does not keep others waiting; see `artefact_claims.claimed`.
        """
        folder = self.path(kind, key)
        with suppress(OSError):  # a claim that cannot be made says so itself
            folder.parent.mkdir(parents=True, exist_ok=True)
        with claimed(_claim_file(folder), f"{kind}/{key}", is_made=(folder / FACTS).is_file):
            yield

    def obtain(
        self, kind: str, key: str, facts: Mapping[str, Any], make: Callable[[], Mapping[str, torch.Tensor]]
    ) -> dict[str, torch.Tensor]:
        """The artefact: taken from the store, or made by `make` and kept there. On the CPU if taken, as made if made."""
        found = self.load(kind, key)
        if found is not None:
            return found
        with self.claim(kind, key):
            found = self.load(kind, key)
            if found is None:
                found = dict(make())
                self.save(kind, key, found, facts)
        return found

    def entries(self) -> list[Artefact]:
        """All that is kept, by kind and then the longest unused first."""
        folders = (path for path in self.root.glob("*/*") if path.is_dir() and not path.name.startswith("."))
        known = [entry for entry in map(describe, folders) if entry is not None]
        return sorted(known, key=lambda entry: (entry.kind, entry.used, entry.key))

    def remove(self, artefact: Artefact) -> bool:
        """Delete one; False if somebody makes it or the disk refuses. Whoever reads it at the moment is not disturbed."""
        if is_claimed(_claim_file(artefact.folder)):
            return False
        aside = artefact.folder.with_name(f".{artefact.key}.{uuid.uuid4().hex}.tmp")
        try:
            os.rename(artefact.folder, aside)
        except OSError:
            return False
        shutil.rmtree(aside, ignore_errors=True)
        return True

    def tidy(self) -> None:
        """Delete what killed writers left behind, a day ago or longer."""
        for path in self.root.glob("*/.*.tmp"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > LEFT_OVER:
                    shutil.rmtree(path)

    def _put(self, beside: Path, folder: Path) -> None:
        try:
            os.rename(beside, folder)
        except OSError:
            if not (folder / FACTS).is_file():  # a folder that is not empty cannot be replaced: somebody was faster
                raise

    def _give_up(self, kind: str, key: str, error: Exception) -> None:
        log.warning("%s/%s in %s is damaged (%s); it is made anew.", kind, key, self.root, reason(error))
        aside = self.root / kind / f".{key}.{uuid.uuid4().hex}.tmp"
        with suppress(OSError):
            os.rename(self.path(kind, key), aside)
        shutil.rmtree(aside, ignore_errors=True)


def _claim_file(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.claim")


def _plain(value: Any) -> Any:
    """`value` as JSON has it."""
    if hasattr(value, "model_dump"):
        return _plain(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"A fact of an artefact must be a number, a text, settings, or mappings and lists of them, got {value!r}.")


def _hash_of(images: Images) -> str:
    import torch

    digest = hashlib.sha256(repr((FORMAT, tuple(images.pixels.shape), images.window)).encode())

    def take(what: str, tensor: torch.Tensor) -> None:
        digest.update(repr((what, tuple(tensor.shape))).encode())
        digest.update(tensor.cpu().contiguous().numpy().data)

    at_a_time = max(1, BLOCK // max(1, images.pixels[:1].numel()))
    for block in images.pixels.split(at_a_time):
        take("pixels", block)
    for name in sorted(images.roles):
        take(f"role {name}", images.roles[name])
    if images.extents is not None:
        take("extents", images.extents)
    if images.masks is not None:
        for indices in torch.arange(len(images), device=images.device).split(at_a_time):
            take("masks", images.masks.batch(indices))
    return digest.hexdigest()[:32]
