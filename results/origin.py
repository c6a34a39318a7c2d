"""Whose a record is: a record that another laboratory ran has an `origin.json` beside it, which only an import writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .files import RecordError

ORIGIN = "origin.json"


def read_origin(folder: Path) -> dict[str, Any] | None:
    """Where the record in `folder` came from, with the name of its laboratory under `lab`; None for our own.

    Raises `RecordError` if that cannot be read: a record whose owner is unknown counts for nobody.
    """
    path = folder / ORIGIN
    try:
        origin = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} is damaged ({error}). Delete the folder and import its bundle again.") from None
    if not isinstance(origin, dict) or not isinstance(origin.get("lab"), str) or not origin["lab"]:
        raise RecordError(f"{path} names no laboratory. Delete the folder and import its bundle again.")
    return origin
