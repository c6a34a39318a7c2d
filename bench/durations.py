"""Durations as people write them."""

from __future__ import annotations

import re

_DURATION = re.compile(
    r"(?:(?P<d>\d+(?:\.\d+)?)d)?(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?"
)
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


def seconds_in(text: str) -> float:
    """Seconds in `90s`, `10m`, `1.5h`, `1h30m` or `30d`, more than 0. Raises `ValueError` with what to write instead."""
    found = _DURATION.fullmatch(text.replace(" ", "").lower())
    if not found or not any(found.groups()):
        raise ValueError(f"{text!r} is not a duration. Write 90s, 10m or 1h30m.")
    seconds = sum(float(value) * _SECONDS[unit] for unit, value in found.groupdict().items() if value)
    if seconds <= 0:
        raise ValueError(f"{text!r} leaves no time. Write 90s, 10m or 1h30m.")
    return seconds
