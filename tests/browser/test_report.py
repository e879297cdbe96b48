"""The report in a real browser: `make test-browser` (Chromium and Playwright)."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from compressor import api
from tests.small import recipe, write_project

pytestmark = pytest.mark.browser

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">"
SIZES = {"phone": (390, 844), "desktop": (1280, 900)}


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """The report of a run with every link, whose classes have names that try to be markup."""
    monkeypatch = pytest.MonkeyPatch()
    project = write_project(tmp_path_factory.mktemp("browser"))
    monkeypatch.setenv("COMPRESS_HOME", str(project / "home"))
    with np.load(project / "data.npz") as data:
        arrays = dict(data)
    arrays["classes"] = np.array([HOSTILE, "b`c", "d\u2028e", "<b>f</b>"])
    np.savez(project / "data.npz", **arrays)
    prune = {"macs": 0.6, "epochs": 1, "rounds": 1, "batch_size": 32, "round_to": 1}
    bench = {
        "profiles": ["edge", "server"],
        "min_seconds": 0.05,
        "min_samples": 40,
        "blocks": 5,
        "starts": 1,
        "attempts": 1,
    }
    sections = {"prune": prune, "quantize": {"calibration": 32}, "bench": bench}
    sections["distill"] = {"epochs": 1, "batch_size": 32, "lr": 0.002, "control": True}  # worse than its teacher
    done = api.run(recipe(project, **sections))
    monkeypatch.undo()
    return done.report.file("report.html")


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("google-chrome")
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(params=SIZES, ids=str)
def page(request, browser, page_file):
    """The report, opened from disk; anything that the console complains of fails the test."""
    width, height = SIZES[request.param]
    context = browser.new_context(viewport={"width": width, "height": height}, offline=True)
    page, complaints = context.new_page(), []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda fault: complaints.append(str(fault)))
    page.goto(page_file.as_uri())
    page.wait_for_function("document.querySelectorAll('.plot .main-svg').length > 0")
    yield page
    context.close()
    assert complaints == []


def test_every_figure_is_drawn(page):
    empty = page.eval_on_selector_all(
        "[data-figure]", "plots => plots.filter(p => !p.querySelector('.main-svg')).map(p => p.dataset.figure)"
    )
    drawn = page.eval_on_selector_all("[data-figure]", "plots => plots.map(p => p.dataset.figure)")

    assert empty == []
    wanted = {"accuracy-against-latency", "waterfall", "latency-0", "throughput-1", "operators", "reliability"}
    assert wanted | {"accuracy-per-class", "class-changes", "training-metric"} <= set(drawn)


def test_the_page_is_no_wider_than_the_screen(page):
    wide, screen = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")

    assert wide <= screen


def test_a_hostile_class_name_stays_text(page):
    assert page.title() == "small · compress report"
    assert page.locator("img[src='x']").count() == 0
    assert HOSTILE in page.locator("#lost").inner_text()


def test_hovering_a_point_says_what_it_is(page):
    plot = page.locator("[data-figure='accuracy-against-latency']")
    plot.scroll_into_view_if_needed()
    box = plot.locator(".points path.point").first.bounding_box()

    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("[data-figure='accuracy-against-latency'] .hoverlayer .hovertext")

    assert "ms" in plot.locator(".hovertext").first.text_content()


def test_the_theme_changes_and_the_figures_with_it(page):
    ink = "getComputedStyle(document.body).color"
    label = "getComputedStyle(document.querySelector('.plot .xtick text')).fill"
    before = page.evaluate(f"[{ink}, {label}]")

    page.locator("#theme").focus()
    page.keyboard.press("Enter")

    after = page.evaluate(f"[{ink}, {label}]")
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert page.locator("#theme").inner_text() == "Light"


def test_the_keyboard_reaches_the_content_first(page):
    page.keyboard.press("Tab")

    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"


def test_lost_samples_are_shown_with_words_for_those_who_do_not_see_them(page):
    pictures = page.locator(".gallery img")

    assert pictures.count() > 0
    assert all(picture.get_attribute("alt") for picture in pictures.all())
    assert pictures.first.evaluate("image => image.naturalWidth") == 8


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(browser, page_file, scheme):
    """Contrast of at least 4.5 to 1 (WCAG 2.2, 1.4.3) for the text of the first screen and of tables."""
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(page_file.as_uri())
    weak = page.evaluate(
        """() => {
          const parse = (c) => c.match(/[\\d.]+/g).map(Number);
          const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
          const behind = (e) => { for (; e; e = e.parentElement) {
            const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] === 1) return c; }
            return [255, 255, 255]; };
          return [...document.querySelectorAll(".hero *, caption, th, td, summary, figcaption *, .again *, .gallery dd")]
            .filter((e) => e.childNodes.length && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
            .map((e) => { const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
              return [(a + 0.05) / (b + 0.05), e.className || e.tagName]; })
            .filter(([ratio]) => ratio < 4.5).slice(0, 5);
        }"""
    )
    context.close()

    assert weak == []


def test_it_is_small_enough_to_mail(page_file):
    assert page_file.stat().st_size < 6_000_000
