"""Single sign-on in Chromium, with `mbashara up` and a provider on another site: what cookies, redirects and the page's
policy let through."""

import subprocess
import sys

from playwright.sync_api import expect, sync_playwright

from tests.browser.axe import axe_violations
from tests.conformance.engines import ARGUMENTS, CHROMIUM
from tests.oidc import idp as idps
from tests.oidc.idp import SECRET, Person
from tests.up import COMMAND_TIMEOUT_S, ROOT, Up, data_folder, environment, running

ASHA = Person("asha-0001", "asha@ega.go.tz")


def test_signing_on_and_unlinking() -> None:
    port = idps.free_port()
    named = {"oidc_issuer": f"http://localhost:{port}", "oidc_client_id": "mbashara", "oidc_client_secret": SECRET}
    with data_folder() as data, running(data, **named) as up, sync_playwright() as playwright:
        _invite(up)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page, complaints = browser.new_page(viewport={"width": 360, "height": 740}), list[str]()
        page.on("console", lambda said: complaints.append(said.text) if "Security Policy" in said.text else None)
        page.goto(f"{up.http_url}/sw/staff/login?sign-on=away")
        expect(page.locator(".govuk-error-summary")).to_contain_text("Huduma ya kuingia haijibu")
        assert axe_violations(page) == []
        with idps.running(f"{up.http_url}/sw/staff/sign-on/callback", port):
            page.goto(f"{up.http_url}/en/staff/login?next=/staff/account")
            page.locator("#sign-on").click()
            for name, value in ASHA.form.items():
                page.locator(f"[name={name}]").fill(value)
            page.get_by_role("button").click()
            expect(page).to_have_url(f"{up.http_url}/en/staff/account")
            expect(page.get_by_text(ASHA.login)).to_be_visible()
            assert axe_violations(page) == []
            page.get_by_role("button", name="Unlink").click()
            expect(page.locator(".govuk-notification-banner")).to_contain_text("no longer linked")
        assert complaints == []
        browser.close()


def _invite(up: Up) -> None:
    line = [sys.executable, "-m", "mbashara", "user", "add", ASHA.email, "--name", "Asha Juma", "--data", str(up.data)]
    subprocess.run(line, env=environment(), text=True, check=True, timeout=COMMAND_TIMEOUT_S, cwd=ROOT)
