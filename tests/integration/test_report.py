"""The report: its command, and the page in headless Chromium."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from factory.commands.report import run as report
from factory.errors import InputError
from factory.resources import RESOURCES
from factory.storage import file_io
from tests.integration.accessibility import defects
from tests.made_run import HOSTILE, make_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
MEMBERS = [{"name": name, "kind": "scripted"} for name in ("one", "two")]
SECTIONS = ("outcome", "overview", "profiles", "dialogues", "rejected", "safety", "training", "evaluation")


def write_config(folder: Path, output: str, **more: object) -> str:
    config = folder / "config.yaml"
    settings = {
        "output": output, "engine": {"kind": "scripted"}, "personas": {"source": "data/personas.jsonl"},
        "instructions": [{"corpus": "samples", "source": "data/instructions.jsonl"}],
        "evaluation": {"candidates": MEMBERS, "judges": MEMBERS}, **more,
    }  # fmt: skip
    config.write_text(json.dumps(settings))
    return str(config)


@pytest.fixture
def write_report(monkeypatch, capfd, tmp_path):
    """Write the report of an output in this process, and return what was printed and the page's data."""

    def write(output: str, *overrides: str) -> tuple[str, dict]:
        monkeypatch.setattr(sys, "argv", ["report.py", "--config", write_config(tmp_path, output), *overrides])
        report()
        page = file_io.read_bytes(f"{output}/report/index.html").decode()
        found = page.partition('<script type="application/json" id="data">')[2].partition("</script>")[0]
        return capfd.readouterr().out, json.loads(found)

    return write


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    """The page of a complete run, written by the command."""
    folder = tmp_path_factory.mktemp("report")
    output = make_run(str(folder / "run"), characters=60)
    command = [sys.executable, f"{RESOURCES}/jobs/report.py"]
    done = subprocess.run(
        [*command, "--config", write_config(folder, output)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    path = folder / "run/report/index.html"
    assert done.stdout.strip() == f"Report: {path} ({path.stat().st_size / 1e6:.1f} MB)"
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def open_page(browser, page_file):
    """Open the page; at the end, check that it had no errors and made no requests."""
    pages, messages, requests = [], [], []

    def open_in(**context: object) -> Page:
        page = browser.new_context(**context).new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda problem: messages.append(str(problem)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(page_file.as_uri())
        page.wait_for_selector("#flow svg")
        pages.append(page)
        return page

    yield open_in
    assert not messages
    assert set(requests) == {page_file.as_uri()}
    for page in pages:
        page.context.close()


def unfold(page: Page) -> None:
    for details in page.query_selector_all("details"):
        details.evaluate("element => { element.open = true; }")


@pytest.fixture
def open_run(browser, tmp_path, write_report):
    """Build a run of so many characters, and open its page."""
    contexts = []

    def open_run(characters: int) -> Page:
        output = make_run(str(tmp_path / "run"), characters=characters)
        write_report(output)
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 800}))
        page = contexts[-1].new_page()
        page.goto(Path(output, "report/index.html").as_uri())
        page.wait_for_selector("#flow svg")
        return page

    yield open_run
    for context in contexts:
        context.close()


def test_candidates_are_shown_answer_by_answer_against_the_baseline(tmp_path, write_report):
    output = make_run(str(tmp_path / "run"), characters=12)
    _, shown = write_report(output)
    (pair,) = shown["evaluation"]["changed"]
    assert (pair["a"], pair["b"]) == ("tuned", "base")
    counts = {row["task"]: row["wins"] + row["losses"] + row["ties"] for row in pair["tasks"]}
    assert counts["all"] == sum(count for task, count in counts.items() if task != "all") > 30
    answer = pair["answers"][0]
    assert answer["difference"] == max(each["difference"] for each in pair["answers"])
    assert answer["scores_a"].keys() == answer["scores_b"].keys() <= {"judge-a", "judge-b"}
    Path(output, "evaluation/base/judgments/judge-a/.manifest.json").unlink()
    Path(output, "evaluation/base/judgments/judge-b/.manifest.json").unlink()
    _, shown = write_report(output)
    assert shown["evaluation"]["changed"] == []
    assert any("base" in problem and "has no finished judgments" in problem for problem in shown["problems"])


@needs_chromium
def test_page_of_a_small_run_is_at_most_8_screens(open_run):
    page = open_run(32)
    assert page.evaluate("document.documentElement.scrollHeight") <= 8 * 800
    titles = [title.inner_text() for title in page.query_selector_all("#outcome h3")]
    assert titles == ["Did training help?", "Which model leads?", "How much was kept?", "What did it cost?"]
    assert page.query_selector("#map") is None


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_page_is_accessible(open_page, scheme, width):
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    assert "cannot be drawn" not in page.inner_text("main")
    unfold(page)
    assert defects(page) == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@needs_chromium
@pytest.mark.parametrize("kind", ["cases", "rejects", "answers"])
def test_every_filter_changes_the_list(open_page, kind):
    page = open_page()
    for details in page.query_selector_all(f"details:has(#{kind}-rows)"):
        details.evaluate("element => { element.open = true; }")
    all_rows, before = (page.inner_text(f"#{kind}-{part}") for part in ("found", "rows"))
    selects = page.query_selector_all(f"select[id^={kind}-]")
    assert len(selects) == {"cases": 5, "rejects": 2, "answers": 3}[kind]
    for select in selects:
        values = [option.get_attribute("value") for option in select.query_selector_all("option")]
        assert len(values) > 2, f"{select.get_attribute('id')} has nothing to choose from"
        for value in values[1:]:
            select.select_option(value)
            found = page.inner_text(f"#{kind}-found")
            assert " of " in found, f"{select.get_attribute('id')} {value}: {found}"
            assert not found.startswith("0 "), f"{select.get_attribute('id')} {value} finds nothing"
            fewer = found.split()[0] != all_rows.split()[0]
            changed = fewer or page.inner_text(f"#{kind}-rows") != before
            assert changed, f"{select.get_attribute('id')} {value} changes nothing"
        select.select_option("")
        assert page.inner_text(f"#{kind}-found") == all_rows
    page.fill(f"#{kind}-search", "no text has this")
    expect(page.locator(f"#{kind}-found")).to_contain_text("0 of ")
    assert page.query_selector(f"#{kind}-rows > li") is None
    page.fill(f"#{kind}-search", "")
    expect(page.locator(f"#{kind}-found")).to_have_text(all_rows)
    assert page.inner_text(f"#{kind}-rows") == before


@needs_chromium
def test_search_and_filters_find_matching_rows(open_page):
    page = open_page()
    page.fill("#cases-search", "alimenta")
    expect(page.locator("#cases-found")).to_contain_text(" of ")
    shown = page.query_selector_all("#cases-rows > li")
    assert shown
    assert all("Alimenta" in row.inner_text() for row in shown)
    page.fill("#cases-search", "")
    page.select_option("#cases-status", label="rejected")
    assert all("rejected: " in row.inner_text() for row in page.query_selector_all("#cases-rows > li"))
    assert all("raw of" in row.inner_text() for row in page.query_selector_all("#cases-rows > li"))


@needs_chromium
def test_thoughts_are_folded_below_their_reply(open_page):
    page = open_page()
    page.select_option("#cases-strategy", label="Generated")
    page.select_option("#cases-corpus", label="talks")
    replies = page.locator("#cases-rows .bubble.generate")
    thoughts = replies.locator("details", has_text="Thoughts")
    assert thoughts.count() == replies.count() > 2
    expect(thoughts.first.locator(".text")).to_be_hidden()
    thoughts.first.locator("summary").click()
    expect(thoughts.first.locator(".text")).to_contain_text("<b>Patience</b>")
    page.select_option("#cases-strategy", label="Rewritten")
    assert page.locator("#cases-rows .bubble details").count() == 0


@needs_chromium
def test_pages_turn_by_keyboard(open_page):
    page = open_page()
    first = page.inner_text("#cases-rows")
    assert page.is_disabled("#cases-previous")
    page.focus("#cases-next")
    page.keyboard.press("Enter")
    assert page.inner_text("#cases-page").startswith("Page 2 of")
    assert page.inner_text("#cases-rows") != first


@needs_chromium
def test_topic_map_by_arrow_keys_and_topic(open_run):
    page = open_run(240)
    page.focus("#map")
    page.keyboard.press("ArrowRight")
    first = page.inner_text("#chosen")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#chosen") != first
    assert len(page.query_selector_all("#map circle.chosen")) == 1
    page.click("#profiles .legend button")
    assert page.query_selector_all("#map circle.dim")


@needs_chromium
def test_html_in_a_persona_is_shown_as_text(open_page):
    page = open_page()
    page.fill("#cases-search", "onerror")
    expect(page.locator("#cases-found")).to_contain_text(" of ")
    shown = page.inner_text("#cases-rows")
    assert "<img src=x onerror=document.title='owned'></script>" in shown
    assert "\0" in HOSTILE
    assert "\u2400" in shown
    assert page.title().startswith("Run report")
    assert page.query_selector("img") is None
    assert len(page.query_selector_all("script")) == 2


@needs_chromium
def test_theme_switch(open_page):
    page = open_page(color_scheme="light")

    def ground() -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = ground()
    page.click("#theme")
    assert ground() != light
    page.click("#theme")
    assert ground() == light


def test_empty_output_is_a_one_line_error(tmp_path, write_report):
    with pytest.raises(InputError, match=r"has no tables of a run yet; `character-factory synthesize "):
        write_report(str(tmp_path / "nothing"))
    config = write_config(tmp_path, str(tmp_path / "nothing"))
    job = [sys.executable, f"{RESOURCES}/jobs/report.py", "--config", config]
    done = subprocess.run(job, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: output ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "nothing").exists()


def test_missing_steps_have_their_commands(tmp_path, write_report):
    output = make_run(str(tmp_path / "run"))
    for name in ("curated", "checkpoints", "packed", "evaluation/tuned"):
        shutil.rmtree(f"{output}/{name}")
    Path(output, "dialogues/generate-samples/.manifest.json").unlink()
    Path(output, "evaluation/scores.json").unlink()
    _, shown = write_report(output, "seed=7")
    found = {note["text"].partition(":")[0]: note for note in shown["missing"]}
    assert found.keys() == {"Dialogues", "Curated", "Trained", "Scores"}
    assert "generate-samples" in found["Dialogues"]["text"]
    assert found["Trained"]["command"].startswith("character-factory train ")
    assert found["Trained"]["command"].endswith(".yaml seed=7")
    (step,) = [row for row in shown["overview"]["steps"] if row["table"] == "dialogues/generate-samples"]
    assert (step["finished"], step["rows"]) == (False, 30)
    assert shown["training"] == {}
    assert shown["evaluation"]["answers"][0]["answers"]


def test_overrides_are_quoted_in_commands(tmp_path, write_report):
    output = make_run(str(tmp_path / "run"))
    shutil.rmtree(f"{output}/checkpoints")
    _, shown = write_report(output, "training.lora={rank: 16}")
    (note,) = [one for one in shown["missing"] if one["text"].startswith("Trained")]
    assert note["command"].startswith("character-factory train ")
    assert note["command"].endswith("'training.lora={rank: 16}'")


def test_unreadable_files_are_problems(tmp_path, write_report):
    output = make_run(str(tmp_path / "run"))
    Path(output, "profiles/00001.parquet").write_bytes(b"PAR1 not a table")
    Path(output, "curated/train/.manifest.json").write_text("[]")
    Path(output, "evaluation/scores.json").write_text("{")
    with Path(output, "checkpoints/metrics.jsonl").open("a") as metrics:
        metrics.write('half a line\n{"kind": "step"}\n')
    break_rows(Path(output, "dialogues/rewrite-talks/00000.parquet"))
    _, shown = write_report(output)
    found = "\n".join(shown["problems"])
    assert "profiles/00001.parquet: cannot be read" in found
    assert "curated/train/.manifest.json: is not a JSON object" in found
    assert "evaluation/scores.json: is not a JSON object" in found
    assert "metrics.jsonl: 1 lines are not JSON objects" in found
    assert "metrics.jsonl: 1 lines are neither a step" in found
    assert "dialogues/rewrite-talks: 2 malformed rows" in found
    assert shown["characters"]
    assert shown["dialogues"]["cases"]


@pytest.mark.parametrize("column", ["status", "character_id", "output_tokens", "age", "persona"])
def test_column_of_another_type_is_a_problem(tmp_path, write_report, column):
    output = make_run(str(tmp_path / "run"))
    path = Path(output, "profiles/00000.parquet")
    rows = pq.read_table(path)
    strange = pa.array([[1]] * rows.num_rows)
    pq.write_table(rows.set_column(rows.schema.get_field_index(column), column, strange), path)
    _, shown = write_report(output)
    assert f"in its column '{column}'" in shown["problems"][0]
    assert shown["characters"]


def test_text_types_of_other_writers_are_read(tmp_path, write_report):
    output = make_run(str(tmp_path / "run"))
    before = write_report(output)[1]
    for path in Path(output, "profiles").glob("*.parquet"):
        rows = pq.read_table(path)
        kinds = {"character_id": pa.large_string(), "gender": pa.dictionary(pa.int32(), pa.string())}
        fields = [pa.field(one.name, kinds.get(one.name, one.type)) for one in rows.schema]
        pq.write_table(rows.cast(pa.schema(fields)), path)
    after = write_report(output)[1]
    assert after["characters"] == before["characters"]
    assert not after["problems"]


def break_rows(path: Path) -> None:
    """Remove the status of one row and the id of another."""
    rows = pq.read_table(path)
    accepted = [n for n, status in enumerate(rows["status"].to_pylist()) if status == "ok"]
    for name, row in (("status", accepted[0]), ("dialogue_id", accepted[1])):
        values = rows[name].to_pylist()
        values[row] = None
        rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(values, pa.string()))
    pq.write_table(rows, path)


def test_run_on_s3(s3, write_report):
    output = make_run(f"{s3}/reported")
    printed, shown = write_report(output)
    assert printed.startswith(f"Report: {output}/report/index.html (")
    assert len(shown["characters"]) == 37
    assert not shown["problems"]


def test_same_run_has_the_same_sample(tmp_path, write_report):
    output = make_run(str(tmp_path / "run"))
    first, second = (write_report(output)[1] for _ in range(2))
    for data in (first, second):
        del data["created"]
    assert first == second
    assert set(SECTIONS) - {"rejected"} <= first.keys()
