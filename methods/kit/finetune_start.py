"""Trained weights that a method starts from: the folder of a finished record, known by the checksum of its weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from ..base import MethodError

WEIGHTS, SETTINGS = "model.safetensors", "config.yaml"


class TrainedWeights(BaseModel):
    """Weights on disk. The checksum decides what they are; the path only says where they lie."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    sha256: str
    trained_on: str = ""

    def check(self) -> Path:
        """Where the weights are. Raises `MethodError` if they are gone or not the same any more."""
        path = Path(self.path)
        if not path.is_file():
            raise MethodError(f"start: there are no weights at {path} any more. Say where they are: --set start=RECORD_FOLDER.")
        if sha256_of(path) != self.sha256:
            raise MethodError(f"start: {path} is not the file that this trial was made for. Give the record folder again.")
        return path


def read_start(folder: str | Path, method: str | None) -> tuple[TrainedWeights, dict[str, Any], int]:
    """The weights of a finished record, the settings that it was trained with, and its number of clusters.

    Args:
        folder: the record's folder, or the model.safetensors in it.
        method: name of the method that must have written it; None for any.

    Raises:
        MethodError: no such folder, no finished record of this method, or one whose settings cannot be read.
    """
    path = Path(folder).expanduser().absolute()
    path = path.parent if path.is_file() else path
    if not (path / WEIGHTS).is_file() or not (path / SETTINGS).is_file():
        raise MethodError(
            f"start: {path} is not the folder of a finished {method or 'trained'} record ({WEIGHTS} and {SETTINGS})."
        )
    try:
        about = yaml.safe_load((path / SETTINGS).read_text(encoding="utf-8"))
        found, config, n_clusters = about["method"], dict(about["config"]), int(about["n_clusters"])
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise MethodError(f"start: {path / SETTINGS} cannot be read ({' '.join(str(error).split())}).") from None
    if method is not None and found != method:
        raise MethodError(f"start: {path} is a record of {found!r}, a record of {method!r} is needed.")
    origin = f"{about.get('dataset')}, protocol {about.get('protocol')}, seed {about.get('seed')}"
    weights = TrainedWeights(path=str(path / WEIGHTS), sha256=sha256_of(path / WEIGHTS), trained_on=origin)
    return weights, config, n_clusters


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
