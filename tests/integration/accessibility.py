"""What a page keeps from people who do not see it, or not well."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


def defects(page: Page) -> list[tuple[str, str]]:
    """What axe-core calls serious or worse: the rule, and the first element that breaks it."""
    found = Axe().run(page).response["violations"]
    return [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
