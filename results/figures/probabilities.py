"""`snapshots.npz` of a record: cluster probabilities of a sample of the scored images, at several epochs."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files import RecordError, replace_file, smallest_signed

FILE = "snapshots.npz"


@dataclass(frozen=True, eq=False)
class Probabilities:
    """Cluster probabilities of the same images at several epochs.

    Attributes:
        rows: int64 (n,), which of the scored images they are of, ascending.
        epochs: int64 (E,), ascending; 0 is before training.
        heads: int64 (E,), the sub-head that gave them: the one that the method's own loss preferred in that epoch.
        values: float16 (E, n, K), each row sums to 1 up to the precision of its type.
    """

    rows: np.ndarray
    epochs: np.ndarray
    heads: np.ndarray
    values: np.ndarray

    @classmethod
    def read(cls, folder: Path) -> Probabilities | None:
        """Those of a record folder; None if it has none. Raises `RecordError` if they are damaged."""
        path = folder / FILE
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                rows, epochs, heads = (stored[name].astype(np.int64) for name in ("rows", "epochs", "heads"))
                return cls(rows, epochs, heads, stored["probabilities"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise RecordError(f"{path} is damaged ({error}). Delete it, or run the trial again with --force.") from None

    def write(self, folder: Path) -> None:
        """Replace the file in one step; the same content gives the same bytes. Raises `RecordError` if the disk refuses."""
        about = {name: smallest_signed(getattr(self, name)) for name in ("rows", "epochs", "heads")}
        arrays: dict[str, Any] = {**about, "probabilities": self.values}
        replace_file(folder / FILE, lambda file: np.savez_compressed(file, **arrays))

    def chosen(self, which: np.ndarray) -> Probabilities:
        """Only some of the epochs.

        Args:
            which: bool (E,) or positions (int) in the order wanted.
        """
        return Probabilities(self.rows, self.epochs[which], self.heads[which], self.values[which])

    def added(self, epoch: int, head: int, values: np.ndarray) -> Probabilities:
        """With one more epoch, (n, K), at its end."""
        return Probabilities(
            self.rows,
            np.append(self.epochs, epoch),
            np.append(self.heads, head),
            np.concatenate([self.values, values[None]]).astype(np.float16),
        )
