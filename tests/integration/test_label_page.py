"""The page of labels in a browser, with items that are written by hand; no Ray is needed."""

from collections import Counter

import pytest
from playwright.sync_api import Request, expect

from factory.config import RunConfig
from factory.playground.label_controller import LabelController, open_labels, read_items
from factory.playground.server import serving
from factory.run_output import layout
from tests.integration.accessibility import defects
from tests.label_items import label_item, write_label_items

LABELS = 20
HIDDEN = ("secret", '"worse"')
"""Of candidates, strata, the draw, and which answers are known."""


@pytest.fixture
def config(tmp_path) -> RunConfig:
    items = [label_item(number) for number in range(LABELS)]
    items += [label_item(100, "gold"), label_item(200, "pair")]
    write_label_items(str(tmp_path), items)
    return RunConfig.model_validate(
        {"output": str(tmp_path), "chat": {"port": 0}, "labels": {"gold": 1, "repeat_every": 100}}
    )


def begin(page, url: str) -> None:
    page.goto(url)
    page.fill("#rater textarea, #rater input", "Ada")
    page.click("#proficiency label:has-text('native')")
    page.check("#consent input")
    page.click("#begin")
    expect(page.locator("#work")).to_be_visible()


def test_labels_survive_a_reload_and_hide_what_must_be_hidden(browser_page, config):
    page, errors, texts = browser_page, [], []

    def read(request: Request) -> None:
        """Keep what the page was sent."""
        response = request.response()
        if response and any(kind in response.headers.get("content-type", "") for kind in ("json", "html", "stream")):
            texts.append(response.text())

    page.on("pageerror", lambda problem: errors.append(str(problem)))
    page.on("requestfinished", read)
    table = open_labels(config)
    controller = LabelController(config, read_items(layout.LABEL_ITEMS.table(config.output)), table)
    with serving(controller) as url:
        begin(page, url)
        assert page.locator("#work input:checked").count() == 0
        assert defects(page) == []
        for number in range(LABELS + 2):
            if number == LABELS // 2:
                begin(page, url)
            texts.append(page.content())
            before = page.locator("#answer-1").inner_text()
            is_pair = page.locator("#verdict").is_visible()
            if number == 3:  # nothing is preselected
                page.click("#save")
                expect(page.locator("#note")).to_contain_text("Give each answer a score")
            page.click("#score-1 label:has-text('4')")
            if is_pair:
                page.click("#score-2 label:has-text('2')")
                page.click("#verdict label:has-text('first')")
            page.click("#save")
            if number < LABELS + 1:
                expect(page.locator("#answer-1")).not_to_have_text(before)
                expect(page.locator("#work input:checked")).to_have_count(0)
        expect(page.locator("#note")).to_contain_text("All is done")
    assert any("Question 3?" in text for text in texts)  # what is shown is among what was read
    for word in HIDDEN:
        assert word not in "".join(texts), word
    rows = [row for shard in table.shards() for row in table.read(shard).to_pylist()]
    assert Counter(row["kind"] for row in rows) == {"single": LABELS, "gold": 1, "pair": 1}
    assert len({row["item_id"] for row in rows}) == len(rows) == LABELS + 2
    assert errors == []
