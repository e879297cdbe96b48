"""Tests of `compressor.report.html`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from compressor.report import html
from compressor.report.collect import collect
from compressor.report.facts import ReportData

if TYPE_CHECKING:
    from tests.unit.report.conftest import MakeRun

VOID = {"meta", "link", "br", "img", "input", "hr"}


@dataclass
class Page(HTMLParser):
    """A page read as a browser would: its elements, its visible text, and the source of its scripts."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif not self.open or self.open[-1] != "style":
            self.text.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def _page(data: ReportData) -> Page:
    page = Page()
    page.feed(html.render(data))
    page.close()
    return page


@pytest.fixture
def page(data: ReportData) -> Page:
    return _page(data)


def test_the_page_is_well_formed_and_shows_the_facts(page: Page) -> None:
    text = " ".join(page.text)
    assert page.open == []
    for fact in ("97.41 %", "98.52 %", "7.94× (7.86–8.03)", "23.1×", "50.3 kB", "The budget is met.", "Example CPU"):
        assert fact in text
    for fact in ("CPUExecutionProvider", "what adamw usually takes", "kd (alpha 0.9, temperature 4)", "NCHW", "d1g175"):
        assert fact in text


def test_the_page_loads_nothing_and_stays_below_six_megabytes(data: ReportData) -> None:
    page = _page(data)
    assert not any(attributes.get("src") or tag == "link" for tag, attributes in page.elements)
    assert all((attributes.get("href") or "#").startswith("#") for _, attributes in page.elements)
    assert len(html.render(data).encode()) < 6_000_000


def test_only_the_scripts_of_the_page_may_run(page: Page) -> None:
    policy = next(a["content"] for tag, a in page.elements if tag == "meta" and a.get("http-equiv"))
    data, plotly, own = page.scripts
    assert policy is not None
    assert "default-src 'none'" in policy
    assert html._digest(plotly) in policy
    assert html._digest(own) in policy
    assert json.loads(data)


def test_every_figure_has_a_place_a_name_and_its_numbers_as_a_table(page: Page) -> None:
    drawn = json.loads(page.scripts[0])
    places = [attributes for _, attributes in page.elements if "data-figure" in attributes]
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert [attributes["data-figure"] for attributes in places] == list(drawn)
    assert len(places) == 9
    assert all(attributes["aria-labelledby"] in ids and attributes["role"] == "img" for attributes in places)


def test_the_page_has_landmarks_and_every_table_a_caption(page: Page) -> None:
    assert all(page.count(tag) == 1 for tag in ("header", "nav", "main", "footer", "h1"))
    assert page.count("table") == page.count("caption") > 10


def test_links_inside_the_page_have_a_target(page: Page) -> None:
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    targets = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert targets
    assert all(target is not None and target.removeprefix("#") in ids for target in targets)


def test_hostile_names_are_text_and_nothing_else(hostile_data: ReportData, hostile_name: str) -> None:
    page = _page(hostile_data)
    assert page.open == []
    assert len(page.scripts) == 3
    assert page.count("img") == 0
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert hostile_name in " ".join(page.text)


def test_embedded_json_holds_nothing_that_html_or_javascript_reads(hostile_name: str) -> None:
    text = html.embedded_json({"name": hostile_name + "&\u2028\u2029", "value": float("nan")})
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == {"name": hostile_name + "&\u2028\u2029", "value": None}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"roles": ("teacher", "student")}, "no control was measured"),
        ({"exported": ()}, "it was not exported"),
        ({"roles": ("student",)}, "no teacher to compare with"),
        ({"roles": ("teacher",)}, "No student was measured"),
    ],
)
def test_what_is_missing_is_said_and_the_rest_still_shows(
    make_run: MakeRun, options: dict[str, tuple[str, ...]], words: str
) -> None:
    page = _page(collect(make_run(**options)))
    assert page.open == []
    assert words in " ".join(page.text)


def test_the_command_that_makes_it_again_is_shown(make_run: MakeRun) -> None:
    bench = make_run()
    (bench.path.parent / "recipe.toml").write_text('name = "digits"\n')
    assert "compress run runs/digits/recipe.toml" in _page(collect(bench)).text
