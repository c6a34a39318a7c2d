"""The page in a headless Chromium, without a network: what a reader can do with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from page_tools import EVIL, command

from clusterbench.results.page.build import page
from clusterbench.results.record import Record

METHODS = "main .data tbody th a"


def texts(tab: Any, selector: str) -> list[str]:
    return [each.strip() for each in tab.locator(selector).all_text_contents()]


def contrast(tab: Any, selector: str) -> float:
    """Of an element's text against what lies behind it (WCAG 2.1, 1.4.3)."""
    return tab.evaluate(
        """(selector) => {
            const numbers = (colour) => {
                const canvas = new OffscreenCanvas(1, 1).getContext("2d");
                canvas.fillStyle = colour;
                canvas.fillRect(0, 0, 1, 1);
                return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
            };
            const channel = (value) => (value <= 10 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4);
            const weights = [0.2126, 0.7152, 0.0722];
            const light = (colour) => numbers(colour).map(channel).reduce((sum, value, at) => sum + value * weights[at], 0);
            const element = document.querySelector(selector);
            let behind = element;
            const seen = (each) => getComputedStyle(each).backgroundColor;
            while (behind.parentElement && seen(behind) === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
            const [a, b] = [light(getComputedStyle(element).color), light(seen(behind))].sort((x, y) => y - x);
            return (a + 0.05) / (b + 0.05);
        }""",
        selector,
    )


def test_it_opens_from_disk_with_the_largest_contest_and_no_error(visit: Any) -> None:
    tab = visit()
    assert texts(tab, METHODS) == ["good", "poor", EVIL]
    assert tab.locator("caption").first.text_content().startswith("ACC on shapes")
    assert tab.title() == "Leaderboard · clusterbench"


def test_a_heading_sorts_and_says_so(visit: Any) -> None:
    tab = visit()
    heading = tab.get_by_role("button", name="ACC %")
    heading.click()
    assert texts(tab, METHODS) == ["good", EVIL, "poor"]
    assert tab.locator("th[aria-sort=descending]").text_content().startswith("ACC %")
    heading.press("Enter")
    assert texts(tab, METHODS) == ["poor", EVIL, "good"]
    assert tab.locator("th[aria-sort]").count() == 1
    assert tab.locator("th[aria-sort=ascending] button").evaluate("element => element === document.activeElement")


def test_filters_leave_what_was_chosen_and_stand_in_the_address(visit: Any) -> None:
    tab = visit()
    tab.get_by_label("Data set").select_option("")
    assert sorted(texts(tab, METHODS)) == sorted(["good", "good", "poor", EVIL])
    assert tab.locator(".hint").first.text_content().startswith("Choose one data set")
    tab.get_by_label("Budget").select_option("paper")
    assert texts(tab, METHODS) == ["good"]
    assert "budget=paper" in tab.url
    again = visit(tab.url.partition("board.html")[2])
    assert texts(again, METHODS) == ["good"]


def test_another_metric_is_shown_and_ranked(visit: Any) -> None:
    tab = visit()
    tab.get_by_label("Metric").select_option("nmi")
    cells = texts(tab, "main .data tbody tr:first-child td")
    assert any(cell.startswith("87.5 ±") for cell in cells)  # 0.975 mean ACC less 0.1


def test_a_run_opens_with_its_matrix_and_its_command_can_be_copied(visit: Any, records: list[Record]) -> None:
    tab = visit()
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.get_by_role("link", name="poor", exact=True).click()
    tab.get_by_role("link", name="poor, seed 2").click()
    tab.wait_for_selector("h1:has-text('poor on shapes, seed 2')")
    assert tab.locator("table.confusion tbody tr").count() == 3
    assert texts(tab, "table.confusion tbody tr:first-child td") == ["15", "85", "0"]
    record = next(record for record in records if record.spec["method"] == "poor" and record.spec["seed"] == 2)
    tab.get_by_role("button", name="Copy").click()
    tab.wait_for_selector("button:has-text('Copied')")
    assert tab.evaluate("navigator.clipboard.readText()") == command(record)


def test_going_back_returns_to_the_filtered_table(visit: Any) -> None:
    tab = visit("#/?budget=short&dataset=")
    before = texts(tab, METHODS)
    tab.get_by_role("link", name="poor", exact=True).click()
    tab.wait_for_selector("h1:has-text('poor on shapes')")
    tab.go_back()
    tab.wait_for_selector("h1:has-text('Leaderboard')")
    assert texts(tab, METHODS) == before


def test_sample_images_are_shown_with_words(visit: Any, records: list[Record], made: Any) -> None:
    from page_tools import unpacked

    runs = unpacked(made.html, "details-0")["runs"]
    (place,) = [int(place) for place, run in runs.items() if any(row.get("picture") for row in run["clusters"] or ())]
    tab = visit(f"#/run/{records[place].folder.name}")
    assert tab.locator("img.strip").count() == 3
    assert tab.locator("img.strip").evaluate_all("all => all.every((each) => each.complete && each.naturalWidth > 20)")
    assert tab.locator("img.strip").first.get_attribute("alt").startswith("Images of cluster 0")


def test_wicked_names_stay_text(visit: Any) -> None:
    tab = visit()
    tab.get_by_role("link", name=EVIL, exact=True).click()
    tab.wait_for_selector("main h1:has-text('on shapes')")
    assert tab.locator("main h1").text_content() == f"{EVIL} on shapes"
    assert tab.locator("main script, main b").count() == 0
    assert tab.title() != "taken"


def test_a_failed_run_shows_its_error(visit: Any) -> None:
    tab = visit("#/runs?status=failed")
    tab.get_by_role("link", name="poor, seed 9").click()
    tab.wait_for_selector("h2:has-text('Error')")
    assert f"ValueError: no more of it {EVIL}" in tab.locator("main").text_content()


def test_what_could_not_be_read_is_told(visit: Any) -> None:
    assert f"one is damaged {EVIL}" in visit("#/runs").locator("main").text_content()


@pytest.mark.parametrize("address", ["#/nowhere", "#/run/none", "#/setting/none"])
def test_an_unknown_address_says_so(visit: Any, address: str) -> None:
    assert visit(address).locator("h1").text_content() == "Not in this page"


def test_the_front_is_what_nothing_cheaper_beats(visit: Any) -> None:
    tab = visit()
    told = tab.locator("figcaption").first.text_content()
    # mean cost: good 25 s, poor 182.5 s, the one seed of the third 70 s; good is cheapest and best
    assert told.startswith("On the Pareto front, where nothing cheaper is as good: good (short), 25 s, 97.5. ")
    assert tab.locator("a.mark.on-front").count() == 1
    assert tab.locator("a.mark").count() == 3


def test_the_curves_end_where_the_records_do(visit: Any) -> None:
    tab = visit()
    tab.wait_for_selector(".legend")
    assert sorted(texts(tab, ".legend a")) == sorted([f"{EVIL} (short)", "good (short)", "poor (short)"])
    assert tab.locator("path.line[d^='M']").count() >= 3


def test_a_loss_that_some_epochs_lack_is_still_one_line(visit: Any, records: list[Record]) -> None:
    record = next(record for record in records if record.spec["method"] == "good" and record.spec["seed"] == 0)
    tab = visit(f"#/run/{record.folder.name}")
    tab.wait_for_selector("text=Curves by epoch")
    lines = [path.get_attribute("d") for path in tab.locator("figure path.line:not(.legend path)").all()]
    assert [len(line.split("L")) for line in lines] == [3, 3, 2]  # ACC and NMI of three epochs, the loss of the first and last


def test_the_keyboard_reaches_everything(visit: Any) -> None:
    tab = visit()
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the content"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"
    assert tab.url.endswith("board.html")
    for _ in range(40):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.textContent") == "good":
            break
    tab.keyboard.press("Enter")
    tab.wait_for_selector("h1:has-text('good on shapes')")
    assert tab.evaluate("document.activeElement.tagName") == "H1"


def test_every_control_table_and_picture_has_a_name(visit: Any) -> None:
    tab = visit()
    nameless = """() => {
        const all = [...document.querySelectorAll("select, button, a, table, svg[role], img, [role=region], nav")];
        const named = (each) => each.ariaLabel || each.labels?.length || each.caption || each.alt || each.textContent.trim();
        return all.filter((each) => !named(each)).length;
    }"""
    for address in ("#/", "#/runs", "#/about"):
        tab.evaluate(f"location.hash = '{address}'")
        tab.wait_for_timeout(200)
        assert tab.evaluate(nameless) == 0
    assert tab.locator("html[lang=en]").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("address", ["", "#/runs", "#/run/000-s0"])
def test_text_is_readable_in_both_colour_schemes(visit: Any, scheme: str, address: str) -> None:
    tab = visit(address, scheme=scheme)
    for selector in ("main a", "small, dt", "h1", "caption", "td", "thead th"):
        if tab.locator(selector).count():
            assert contrast(tab, selector) >= 4.5, selector


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_shade_of_the_matrix_leaves_its_number_readable(visit: Any, scheme: str) -> None:
    tab = visit("#/run/000-s0", scheme=scheme)
    for share in (0, 0.25, 0.5, 0.75, 1):
        tab.evaluate(f"document.querySelector('table.confusion tbody td').style.setProperty('--share', {share})")
        assert contrast(tab, "table.confusion tbody td") >= 4.5, share


def test_the_switch_overrides_the_system_and_is_kept(visit: Any) -> None:
    tab = visit(scheme="light")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = tab.evaluate(ground)
    tab.get_by_label("Colours").select_option("dark")
    dark = tab.evaluate(ground)
    assert dark != light
    assert tab.evaluate("localStorage.getItem('clusterbench-theme')") == "dark"
    tab.add_init_script("localStorage.setItem('clusterbench-theme', 'dark')")  # a reload may outrun what was just stored
    tab.reload()
    tab.wait_for_selector("main h1")
    assert tab.evaluate(ground) == dark


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("address", ["", "#/runs", "#/about", "#/run/000-s0", "#/setting/first"])
def test_nothing_is_wider_than_the_screen(visit: Any, width: int, address: str) -> None:
    tab = visit("" if address.endswith("first") else address, width=width)
    if address.endswith("first"):
        tab.locator(METHODS).first.click()
        tab.wait_for_selector("h1:has-text(' on ')")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_many_settings_are_shown_in_pages(visit: Any, records: list[Record], tmp_path: Path) -> None:
    many = []
    for number in range(60):
        spec = records[0].spec | {"config": {"epochs": number}, "preset": f"budget {number:02d}"}
        many.append(records[0].model_copy(update={"spec": spec, "id": f"{number:012x}", "folder": Path(f"copy-{number}")}))
    path = tmp_path / "many.html"
    path.write_text(page(many, repeat=command).html, encoding="utf-8")
    tab = visit(path=path)
    assert tab.locator(METHODS).count() == 50
    assert "50 of 60" in tab.locator(".pager").text_content()
    tab.get_by_role("button", name="Next").click()
    assert tab.locator(METHODS).count() == 10
