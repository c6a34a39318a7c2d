"""The kept reports of `bench profile --suite` as one page of Markdown.

    python -m clusterbench.bench.profile.page results/benchmarks

Writes README.md beside the JSON files of the folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from .outcome import markdown
from .suite import Report, read_report

HEAD = """# How fast

Made of the JSON files in this folder by `python -m clusterbench.bench.profile.page results/benchmarks`; each was written by
`bench profile --suite --output FILE.json`, benchmark by benchmark (`--only NAME`), on one thread (`--threads 1`) or on all.
"""


def page(reports: Sequence[Report]) -> str:
    """A part for each machine."""
    return "\n".join([HEAD, *(_part(report) for report in reports)])


def _part(report: Report) -> str:
    about = report.machine
    title = f"{about['hardware']}, {about['device']}, {about['threads']} of {about['cores']} cores"
    versions = f"Python {about['python']}, torch {about['torch']}, measured {about['measured']}."
    return "\n".join([f"# {title}\n\n{versions}\n", *(markdown(each) for each in report.outcomes)])


def main(arguments: list[str] | None = None) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    reports = [read_report(path) for path in sorted(folder.glob("*.json"))]
    (folder / "README.md").write_text(page(reports), encoding="utf-8")


if __name__ == "__main__":
    main()
