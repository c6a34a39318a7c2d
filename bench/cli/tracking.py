"""Delivery of single records to MLflow, which never stands in the way of a run."""

from __future__ import annotations

from pathlib import Path

from ...results.mlflow_sink import feed
from ...results.record import Record
from ..tracking import store_uri, viewer
from .errors import one_line, say


class Tracking:
    """Where records are delivered to. After a refusal it stays silent: the records are on disk and can be fed again.

    Args:
        asked: a tracking URI, `off`, or "" for an SQLite file beside the records.
        out: folder of the records.
        quiet: do not say when the store refuses.
    """

    def __init__(self, asked: str, out: Path, *, quiet: bool = False) -> None:
        self.uri = store_uri(asked, out)
        self.quiet = quiet
        self.refused = False

    @property
    def is_off(self) -> bool:
        """Whether nothing (more) is delivered."""
        return self.uri is None or self.refused

    def feed(self, record: Record) -> None:
        """Deliver `record`. A store that does not take it costs one line."""
        if self.uri is None or self.refused:
            return
        try:
            feed(record, self.uri)
        except Exception as error:  # whatever a tracker does, the trials go on
            self.refused = True
            if not self.quiet:
                say(one_line(error))

    @property
    def viewer(self) -> str | None:
        """The command that shows what was delivered; None where a server shows it, or nothing was."""
        return None if self.refused else viewer(self.uri)
