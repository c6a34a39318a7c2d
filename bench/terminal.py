"""Printing for terminals and for everything else: pipes and files get no padding at the ends of lines and no broken paths."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.console import Console, RenderableType

PLAIN_WIDTH = 160
UNBROKEN = 2000  # a width that no path or command reaches


def emit(console: Console, renderable: RenderableType, width: int = PLAIN_WIDTH) -> None:
    """Print `renderable` as `console` can show it; `width` is that of plain lines."""
    if console.is_terminal:
        console.print(renderable)
    else:
        console.print(plain(renderable, width), markup=False, highlight=False, soft_wrap=True)


def plain(renderable: RenderableType, width: int = PLAIN_WIDTH) -> str:
    """`renderable` as lines of text without colours, at most `width` characters long."""
    console = Console(width=width, no_color=True, force_terminal=False, highlight=False)
    with console.capture() as captured:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def waiting(console: Console, text: str, *, silent: bool = False) -> AbstractContextManager[Any]:
    """Show `text` beside a turning wheel for as long as the context lasts; nothing where there is no terminal."""
    return console.status(text) if console.is_terminal and not console.is_dumb_terminal and not silent else nullcontext()


def yaml_line(value: Any) -> str:
    """A setting as `--set` reads it: one line of YAML."""
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")
