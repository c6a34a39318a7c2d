"""A picture of a page as a browser shows it: of the leaderboard in the README, or to look at one's own.

    bench leaderboard --html board.html --out results/reproduced
    python -m clusterbench.bench.page_picture board.html docs/leaderboard.png

Needs Playwright and a Chromium, neither of which is needed for anything else but the tests of the page.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
FIRST_ROW = "main table tbody tr"


def find_browser() -> str | None:
    """Path of a Chromium: $CLUSTERBENCH_CHROMIUM, else the first of `BROWSERS` on the path; None if there is none."""
    return os.environ.get("CLUSTERBENCH_CHROMIUM") or next((found for name in BROWSERS if (found := shutil.which(name))), None)


@contextmanager
def opened(path: str) -> Iterator[Browser]:
    """The Chromium at `path`, headless. Raises `ImportError` where Playwright is not installed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield browser
        browser.close()


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path, help="a PNG file")
    parser.add_argument("--view", default="", help="what follows the file in the address, such as '#/runs'")
    parser.add_argument("--width", type=int, default=1280, help="of the window, in px")
    parser.add_argument("--height", type=int, default=0, help="of the picture, in px; the whole page by default")
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    found = find_browser()
    if found is None:
        parser.error(f"no Chromium: none of {', '.join(BROWSERS)} is on the path; name one in $CLUSTERBENCH_CHROMIUM")
    size = {"width": options.width, "height": options.height or 900}
    with opened(found) as browser:
        tab = browser.new_page(viewport=size, color_scheme="dark" if options.dark else "light")  # type: ignore[arg-type] - both are
        tab.goto(options.page.resolve().as_uri() + options.view)
        tab.wait_for_selector("main h1")
        tab.wait_for_load_state("networkidle")  # the charts have been drawn
        tab.screenshot(path=options.picture, full_page=not options.height)


if __name__ == "__main__":
    main()
