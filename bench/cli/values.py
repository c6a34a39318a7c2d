"""Option values that need reading: seeds, durations. Each refusal says what would be right."""

from __future__ import annotations

import re

import typer

from ..durations import seconds_in

MOST_SEEDS = 10_000
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT])B?")


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds in the order given: `5` means 0, 1, 2, 3, 4; `0,1,7` means these three; `7,` means seed 7 alone."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts[:-1]) or not (parts[-1].isdecimal() or (len(parts) > 1 and not parts[-1])):
        raise _refuse("--seeds", f"{text!r} is neither a number of seeds (5) nor a list of seeds (0,1,2).")
    if len(parts) > 1:
        return tuple(dict.fromkeys(int(part) for part in parts if part))
    count = int(parts[0])
    if not 1 <= count <= MOST_SEEDS:
        raise _refuse(
            "--seeds", f"{count} is a number of seeds; it must be 1 to {MOST_SEEDS:,}. For seed {count} alone write '{count},'."
        )
    return tuple(range(count))


def parse_duration(text: str | None, option: str = "--time-limit") -> float | None:
    """Seconds in `90s`, `10m`, `1.5h`, `1h30m` or `30d`; None stays None."""
    if text is None:
        return None
    try:
        return seconds_in(text)
    except ValueError as refusal:
        raise _refuse(option, str(refusal)) from None


def parse_size(text: str | None, option: str) -> int | None:
    """Bytes in `500M`, `1.5G` or `2T` (powers of 1000, a B may follow); None stays None."""
    if text is None:
        return None
    found = _SIZE.fullmatch(text.replace(" ", "").upper())
    if not found:
        raise _refuse(option, f"{text!r} is not a size. Write 500M, 20G or 1T.")
    return round(float(found[1]) * 1000.0 ** "KMGT".find(found[2]) * 1000)


def _refuse(option: str, why: str) -> typer.BadParameter:
    return typer.BadParameter(why, param_hint=option)
