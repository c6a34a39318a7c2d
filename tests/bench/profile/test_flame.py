"""The flame page is the trace: every call inside its callers, with its time."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from clusterbench.bench.profile.flame import Bar, nested, read_trace, write_flame


def event(name: str, start: float, took: float) -> dict[str, object]:
    return {"name": name, "ts": start, "dur": took, "cat": "cpu_op", "tid": 1}


def test_calls_lie_inside_the_one_that_runs_and_equal_ones_are_added() -> None:
    events = [
        event("step", 0, 10),
        event("mm", 1, 3),
        event("copy", 2, 1),
        event("mm", 5, 2),
        event("step", 20, 5),
        event("mm", 21, 1),
    ]
    root = nested(reversed(events))
    step = root.inside["step"]
    assert root.total == step.total == 15
    assert step.inside["mm"].total == 6 and list(step.inside) == ["mm"]
    assert step.inside["mm"].inside["copy"].total == 1


def test_what_only_measures_is_no_bar() -> None:
    root = nested([event("train", 0, 10), event("torch/profiler/profiler.py(3): step", 1, 5), event("mm", 2, 1)])
    assert list(root.inside["train"].inside) == ["mm"]


def multiply(left: torch.Tensor) -> torch.Tensor:
    return left @ left


def test_trace_of_torch_is_read(tmp_path: Path) -> None:
    with profile(activities=[ProfilerActivity.CPU], with_stack=True) as profiler:
        multiply(torch.ones(8, 8))
    profiler.export_chrome_trace(str(tmp_path / "trace.json"))

    def names(bar: Bar, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
        own = (*above, bar.name)
        return [own, *(path for inside in bar.inside.values() for path in names(inside, own))]

    paths = names(read_trace(tmp_path / "trace.json"))
    assert any(path[-1] == "aten::mm" and any("multiply" in name for name in path) for path in paths)


def test_page_holds_the_bars_and_leaves_out_the_invisible(tmp_path: Path) -> None:
    root = nested([event("a</script>", 0, 10_000), event("tiny", 1, 2), event("large", 10, 5_000)])
    write_flame(tmp_path / "flame.html", root, "steps of <iic>")
    page = (tmp_path / "flame.html").read_text(encoding="utf-8")
    assert "steps of &lt;iic&gt;" in page and page.count("</script>") == 2 and "http" not in page
    found = re.search(r'id="bars">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    (top,) = json.loads(found.group(1))["inside"]
    assert top["ms"] == 10 and [each["name"] for each in top["inside"]] == ["large"]
