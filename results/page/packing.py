"""Data inside the page: JSON, compressed and in characters that HTML leaves alone, in pieces that are unpacked when looked at."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

from ..files import plain

PIECE = 400_000
"""Characters of JSON in a piece: so few that a browser unpacks one in a moment, so many that they compress well."""


def pack(content: Any) -> str:
    """`content` as JSON, gzip and base64; the same content is the same text on every day."""
    return _packed(_json(content))


def _json(content: Any) -> str:
    """`content` as JSON that every browser reads. What comes from records is plain already, and seldom holds a NaN."""
    form: dict[str, Any] = {"ensure_ascii": False, "separators": (",", ":"), "allow_nan": False}
    try:
        return json.dumps(content, default=plain, **form)
    except ValueError:
        return json.dumps(plain(content), **form)


def _packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode("ascii")


class Pieces:
    """Details of runs, packed as they come.

    What runs have in common stands in a piece once: see `share`.

    Attributes:
        texts: the packed pieces that are full.
        place: by run, the number of its piece.
        size: characters that all of it takes; an upper bound until `close`.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.place: dict[int, int] = {}
        self._packed = self._open = 0
        self._begin()

    @property
    def size(self) -> int:
        """Characters of all pieces, the unfinished one as if it did not compress."""
        return self._packed + self._open

    def share(self, content: Mapping[str, Any]) -> int:
        """The number, in the piece that is being filled, of a mapping that other runs may have too."""
        text = _json(content)
        if text not in self._shared:
            self._shared[text] = len(self._shared)
            self._open += len(text)
        return self._shared[text]

    def add(self, run: int, detail: Mapping[str, Any]) -> None:
        """Put the detail of `run` into the piece that is being filled."""
        self._runs[run] = _json(detail)
        self.place[run] = len(self.texts)
        self._open += len(self._runs[run])
        if self._open >= PIECE:
            self.close()

    def close(self) -> None:
        """Pack what is open."""
        if self._runs:
            runs = ",".join(f'"{run}":{text}' for run, text in self._runs.items())
            self.texts.append(_packed(f'{{"shared":[{",".join(self._shared)}],"runs":{{{runs}}}}}'))
            self._packed += len(self.texts[-1])
            self._begin()

    def _begin(self) -> None:
        self._shared: dict[str, int] = {}  # by its JSON, its number
        self._runs: dict[int, str] = {}
        self._open = 0
