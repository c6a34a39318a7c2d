"""Records on disk, a page made of them, and a browser to open it in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))

from page_tools import EVIL, command, pictures, write

from clusterbench.bench.page_picture import find_browser, opened
from clusterbench.results.page.build import Page, page
from clusterbench.results.record import Record, RecordWriter, find_records


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """On `shapes` four seeds of `good` and of `poor`, and one of a wicked name; on `more` two of `good`; one failed."""
    out = tmp_path_factory.mktemp("records")
    for seed, wrong in enumerate((15, 19, 17, 18)):
        write(out, "poor", seed, wrong)
        write(out, "good", seed, seed, config={"epochs": 3, "note": EVIL})
    write(out, EVIL, 0, 6)
    for seed in range(2):
        write(out, "good", seed, 3, dataset="more", preset="paper")
    writer = RecordWriter(out / "failed")
    spec = {"method": "poor", "dataset": "shapes", "protocol": "full", "seed": 9, "preset": "short", "task": "clustering"}
    writer.start(id="0" * 12, spec=spec)
    writer.fail(ValueError(f"no more of it {EVIL}"), planned_epochs=3)
    return find_records(out)


@pytest.fixture(scope="session")
def made(records: list[Record]) -> Page:
    return page(records, repeat=command, images=pictures, samples=1, damaged=[f"one is damaged {EVIL}"])


@pytest.fixture(scope="session")
def file(made: Page, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "board.html"
    path.write_text(made.html, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium; the test is skipped where there is none, or no Playwright."""
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: the page was not opened in a browser")
    found = find_browser()
    if found is None:
        pytest.skip("no Chromium on the path and none in CLUSTERBENCH_CHROMIUM: the page was not opened in a browser")
    with opened(found) as window:
        yield window


Open = Callable[..., Any]


@pytest.fixture
def visit(browser: Any, file: Path) -> Iterator[Open]:
    """`visit("#/runs")` opens that view at 1280 px (or `width`) in light (or `scheme`) colours and gives the tab.

    When the test is over, nothing may have been written to the console or asked of the network.
    """
    contexts, troubles = [], []

    def open_view(address: str = "", *, width: int = 1280, scheme: str = "light", path: Path = file) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True)
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(20_000)
        tab.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on(
            "request", lambda request: troubles.append(request.url) if not request.url.startswith(("file:", "data:")) else None
        )
        tab.goto(f"{path.as_uri()}{address}")
        tab.wait_for_selector("main h1")
        return tab

    yield open_view
    for context in contexts:
        context.close()
    assert troubles == []
