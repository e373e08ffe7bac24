"""What axe finds on a page: accessibility by WCAG A and AA, and axe's own best practice."""

from pathlib import Path

from playwright.sync_api import Page

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
AXE_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def axe_violations(page: Page) -> list[str]:
    page.evaluate(AXE.read_text())
    rules = {"runOnly": AXE_RULES, "resultTypes": ["violations"]}  # what passes is not described, node by node
    found = page.evaluate("rules => axe.run(document, rules).then(result => result.violations)", rules)
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found]
