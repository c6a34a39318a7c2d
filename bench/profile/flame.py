"""A trace of the profiler as one page: which call inside which takes how long, drawn as bars below each other.

The trace must have been taken with `with_stack=True`. Calls with the same callers are one bar, over all steps; what torch's
profiler and this package's own measuring add is left out. Of a GPU it shows what the host does, not the kernels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
KINDS = ("python_function", "cpu_op")
UNSEEN = ("<", "torch/profiler", "torch/autograd/profiler", "torch/autograd/graph", "bench/profile/", "profiler::")
LEAST = 1e-3  # share of the whole below which a bar is not drawn


@dataclass
class Bar:
    """A call: `total` microseconds with everything inside, `inside` by name."""

    name: str
    total: float = 0.0
    inside: dict[str, Bar] = field(default_factory=dict)

    def child(self, name: str) -> Bar:
        """The bar of that name inside, made if it is not there."""
        return self.inside.setdefault(name, Bar(name))

    def drawn(self, whole: float) -> dict[str, Any]:
        """For the page: name, milliseconds, and what is inside and large enough to be seen, largest first."""
        seen = sorted((bar for bar in self.inside.values() if bar.total >= LEAST * whole), key=lambda bar: -bar.total)
        return {"name": self.name, "ms": round(self.total / 1000, 3), "inside": [bar.drawn(whole) for bar in seen]}


def read_trace(path: Path) -> Bar:
    """The calls of the busiest thread of a Chrome trace, as one bar without a name that holds all others.

    torch runs the backward pass of a CPU in the thread that asked for it, so that one thread has everything there.
    """
    events = [event for event in json.loads(path.read_text(encoding="utf-8"))["traceEvents"] if event.get("cat") in KINDS]
    by_thread: dict[Any, list[dict[str, Any]]] = {}
    for event in events:
        by_thread.setdefault(event["tid"], []).append(event)
    return nested(max(by_thread.values(), key=len, default=[]))


def nested(events: Iterable[dict[str, Any]]) -> Bar:
    """Events with `name`, `ts` and `dur` in microseconds, those of one thread: each lies inside the last one that still runs."""
    root = Bar("all")
    running: list[tuple[float, Bar]] = []  # end of the call, and its bar
    for event in sorted(events, key=lambda event: (event["ts"], -event["dur"])):
        began, took = event["ts"], event["dur"]
        while running and running[-1][0] <= began:
            running.pop()
        above = running[-1][1] if running else root
        name = _readable(event["name"])
        bar = above if name.startswith(UNSEEN) else above.child(name)
        if bar is not above:
            bar.total += took
        running.append((began + took, bar))
    root.total = sum(bar.total for bar in root.inside.values())
    return root


def _readable(name: str) -> str:
    """`methods/iic.py(141): _epoch` for a file of this package, wherever it is installed."""
    return name.replace(f"{CHECKOUT}/", "")


def write_flame(path: Path, root: Bar, title: str) -> None:
    """Write the page: one file that needs no network. A click makes a bar as wide as the page."""
    from jinja2 import Environment

    template = Path(__file__).with_name("flame.html.j2").read_text(encoding="utf-8")
    bars = json.dumps(root.drawn(root.total)).replace("<", "\\u003c")
    path.write_text(Environment(autoescape=True).from_string(template).render(title=title, bars=bars), encoding="utf-8")
