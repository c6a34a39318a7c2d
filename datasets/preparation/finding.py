"""Where the images of a data set are read from: where the user says, else in the data roots, else fetched."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import roots
from ..catalogue import datasets
from ..errors import DataError
from ..files.archives import unpack
from ..names import DatasetName
from ..source import Progress, Recipe, Source


def find_source(
    parsed: DatasetName,
    card: Mapping[str, Any],
    given: Path | None,
    root: Path | str | None,
    download: bool,
    scratch: Path,
    progress: Progress,
) -> Source:
    """The original files of a data set: where the user says, else in the data roots, else fetched.

    Args:
        parsed, card: the data set.
        given: the folder or archive that the user names.
        root: a data root that is searched first.
        download: fetch what is not here.
        scratch: a folder that a user's archive of images may be unpacked to; it must last as long as the source is read.
        progress: told how far it has come.

    Raises `DataError` if they are not to be had.
    """
    if parsed.is_sample:
        from .samples import sample_of

        return sample_of(parsed.base, card, [given.expanduser()] if given else roots.data_roots(root), progress)
    if parsed.path is not None:
        return _own_source(parsed, scratch, progress)
    folders = [given.expanduser()] if given else roots.data_roots(root)
    for folder in folders:
        if not folder.exists():
            if given:
                raise DataError(f"There is no {folder} to read {parsed.base} from. Correct --from.")
            continue
        found = read_source(parsed.base, card, folder, progress, is_its_own=given is not None)
        if found is not None:
            return found
    recipe = _recipe(parsed.base, card)
    if download and recipe.download is not None:
        target = roots.download_root(root)
        target.mkdir(parents=True, exist_ok=True)
        recipe.download(target, progress)
        found = read_source(parsed.base, card, target, progress)
        if found is not None:
            return found
    raise DataError(_not_here(parsed.base, card, folders, recipe.download is not None))


def read_source(
    base: str, card: Mapping[str, Any], place: Path, progress: Progress, *, is_its_own: bool = False
) -> Source | None:
    """What `place` holds of the data set `base`: original files, else arrays, else an image folder; None if nothing.

    Args:
        base, card: the data set.
        place: a data root, which may hold anything beside this data set; or a folder or archive.
        progress: told how far it has come.
        is_its_own: whether `place` is this data set's own, so that arrays and images right in it are meant.
    """
    from ..arrays import read_arrays
    from ..image_folder import read_image_folder

    recipe = _recipe(base, card)
    found = recipe.read(place, progress)
    if found is not None or not recipe.generic:
        return found
    about = {"shape": tuple(card["shape"]), "class_names": tuple(card.get("class_names", ())) or None}
    for folder in (place / base, *([place] if is_its_own else [])):
        found = read_arrays(folder, progress, **about) if folder.exists() else None
        found = found or (read_image_folder(folder, progress, **about) if folder.is_dir() else None)
        if found is not None:
            return found
    return None


def _own_source(parsed: DatasetName, scratch: Path, progress: Progress) -> Source:
    from ..arrays import read_arrays
    from ..image_folder import read_image_folder

    path = parsed.path
    if path is None or not path.exists():
        raise DataError(f"There is no {path}. Correct the path of --dataset {parsed.public}.")
    if parsed.base.startswith("npz"):
        found = read_arrays(path, progress)
    else:
        folder = _unpacked(path, scratch, progress) if path.is_file() else path
        found = read_image_folder(folder, progress, size=parsed.size)
    if found is None:
        wanted = "arrays (a .npz file)" if parsed.base.startswith("npz") else "images"
        raise DataError(f"{path} holds no {wanted}. Correct the path of --dataset {parsed.public}.")
    return replace(found, where=path)


def _unpacked(archive: Path, scratch: Path, progress: Progress) -> Path:
    """The images of an archive; the one folder that holds everything, where there is one."""
    target = scratch / "images"
    unpack(archive, target, limit_bytes=shutil.disk_usage(scratch).free // 2, progress=progress)
    inside = [path for path in target.iterdir() if not path.name.startswith((".", "__MACOSX"))]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else target


def _recipe(base: str, card: Mapping[str, Any]) -> Recipe:
    found = datasets.get(str(card.get("store", base)))
    if not isinstance(found, Recipe):
        raise DataError(f"{base} comes with a package ({card.get('source') or card['summary']}): there is nothing to prepare.")
    return found


def _not_here(base: str, card: Mapping[str, Any], folders: list[Path], can_download: bool) -> str:
    wrong = f"{base} is not in {' or '.join(map(str, folders))}."
    if can_download:
        return f"{wrong} Say where it is with --data-root DIR, or fetch it ({card.get('size_mb', '?')} MB) with --download."
    source = card.get("source", f"see bench show {base}")
    return f"{wrong} It cannot be fetched freely ({source}). With a copy: bench data prepare {base} --from PATH"
