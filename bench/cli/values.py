"""Option values that need reading: seeds, durations. Each refusal says what would be right."""

from __future__ import annotations

import typer

from ..durations import seconds_in

MOST_SEEDS = 10_000


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


def parse_duration(text: str | None) -> float | None:
    """Seconds in `90s`, `10m`, `1.5h` or `1h30m`; None stays None."""
    if text is None:
        return None
    try:
        return seconds_in(text)
    except ValueError as refusal:
        raise _refuse("--time-limit", str(refusal)) from None


def _refuse(option: str, why: str) -> typer.BadParameter:
    return typer.BadParameter(why, param_hint=option)
