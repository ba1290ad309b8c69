"""The gateway's pages in a real Chromium: readable, reachable by keyboard, and running nothing."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from nbgov.gateway.control.serving import start_control_plane
from nbgov.gateway.identity import Identities
from nbgov.gateway.pages import cookies
from nbgov.model import Audience, Request, Stop, StopKind
from tests.browser.lab import complaints
from tests.gateway_scene import CONFIG, POLICY, make_folder, make_house, token
from tests.mlflow.browser import CONTRAST, OVERFLOW

SCHEMES = ["light", "dark"]
ISSUERS = """issuers:
    acme: {kind: oidc, issuer: "http://127.0.0.1:1", audience: nbgov-gateway, client_id: nbgov}"""
GLASS = POLICY + "break_glass: {by: {groups: [analysts]}}\n"
CHANGE = """UPDATE people
SET city = 'Bern'
WHERE id BETWEEN 7 AND 12"""
READ = "SELECT id, email, city FROM people WHERE id < 40 ORDER BY id"
# An auditor and administrator who may vote and read as well sees all that there is on a page.
ALL = {"analysts", "stewards", "platform", "auditors"}


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """A gateway on which something has happened, and something is going on."""
    from tests import gateway_scene

    monkeypatch.setitem(gateway_scene.PEOPLE, "rosa", ALL)
    config = CONFIG.replace("issuers: {}", ISSUERS)
    house = make_house(make_folder(tmp_path, config=config, policy=GLASS))
    plane = start_control_plane(
        house, Identities(house.terms, now=house.site.world.clock.now), "127.0.0.1:0"
    )
    guest = house.enter(token(house, "ada"), Audience.DATA)

    def ask(sql, **more):
        return house.ask(
            guest, Request("warehouse", sql, **more), surface="flight-sql", address="127.0.0.1"
        )

    with ask(READ, dataset="cities") as result:
        result.to_arrow()
    tickets = []
    for sql in (CHANGE, "UPDATE people SET city = 'Basel\u202e' WHERE id = 3"):
        with pytest.raises(Exception, match="approval") as caught:
            ask(sql)
        tickets.append(caught.value.ticket)
    with pytest.raises(Exception, match="salaries"):
        ask("SELECT * FROM salaries")
    running = ask("SELECT a, b FROM numbers WHERE a > 10")
    next(running.batches())
    by, at = guest.principal, house.site.world.clock.now()
    house.stop(Stop(StopKind.PRINCIPAL, "mallory", "left the company", "olga", at), by=by)
    yield house, f"http://127.0.0.1:{plane.port}", tickets
    running.close()
    plane.stop()
    house.close()


def signed_in(window, house, url, name):
    """A page of somebody who is signed in."""
    held = token(house, name, Audience.CONTROL)
    window.page.context.add_cookies([{"name": cookies.LOGIN, "value": held, "url": url}])
    return window.page


def check(window, name):
    """Nothing is wrong with the page that is shown; a picture is kept."""
    page = window.page
    window.shot(f"pages-{name}", is_whole=True)
    assert complaints(page, "body") == []
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(OVERFLOW) == []
    assert window.said == []
    assert window.left == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_page_is_readable_for_everybody(browser, scene, scheme):
    """Every page passes axe's checks, has enough contrast, fits, and the browser complains of none."""
    house, url, tickets = scene
    with browser.window(scheme, width=1280) as window:
        page = window.page
        page.goto(f"{url}/pages/tickets")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        check(window, f"sign-in-{scheme}")
        signed_in(window, house, url, "rosa")
        for name in ("tickets", "audit", "lineage", "live", "policy"):
            page.goto(f"{url}/pages/{name}")
            check(window, f"{name}-{scheme}")
        for place, ticket in enumerate(tickets):
            page.goto(f"{url}/pages/tickets/{ticket}")
            page.get_by_role("button", name="Show rows").click()
            expect(page.get_by_text("Read just now")).to_be_visible()
            check(window, f"ticket-{place}-{scheme}")
        page.goto(f"{url}/pages/audit?status=ok")
        page.get_by_role("region", name="Entries").get_by_role("link").first.click()
        expect(page.get_by_role("heading", name="Evidence")).to_be_visible()
        check(window, f"entry-{scheme}")
        page.goto(f"{url}/pages/lineage")
        page.get_by_role("link", name="cities@v").click()
        expect(page.get_by_text("Which data?")).to_be_visible()
        check(window, f"lineage-of-{scheme}")
        page.goto(f"{url}/pages/policy")
        page.get_by_label("Statement").fill(READ)
        page.get_by_role("button", name="Decide").click()
        expect(page.get_by_text("Marked below: read.")).to_be_visible()
        check(window, f"policy-read-{scheme}")
        page.goto(f"{url}/pages/tickets/0000")
        window.said.clear()  # The browser tells of the status 404.
        check(window, f"error-{scheme}")


def test_a_page_fits_a_telephone(browser, scene):
    """On a narrow screen nothing is cut off, and tables scroll by themselves."""
    house, url, tickets = scene
    with browser.window("light", width=390, height=800) as window:
        page = signed_in(window, house, url, "rosa")
        for name in ("tickets", f"tickets/{tickets[0]}", "audit", "live", "policy"):
            page.goto(f"{url}/pages/{name}")
            check(window, f"narrow-{name.partition('/')[0]}{'-one' * ('/' in name)}")


def test_a_ticket_is_approved_by_keyboard_alone(browser, scene):
    """Without a mouse and without a script, a reviewer gets to the ticket, and approves it."""
    house, url, tickets = scene
    with browser.window() as window:
        context = browser.browser.new_context(java_script_enabled=False)
        page = context.new_page()
        held = token(house, "grace", Audience.CONTROL)
        context.add_cookies([{"name": cookies.LOGIN, "value": held, "url": url}])
        page.goto(f"{url}/pages/tickets")
        reach(page, lambda: focus(page).get_attribute("href"), f"/pages/tickets/{tickets[0]}")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name=f"Approval {tickets[0]}").first).to_be_visible()
        reach(page, lambda: focus(page).get_attribute("name"), "said")
        page.keyboard.type("looks right")
        reach(page, lambda: focus(page).get_attribute("value"), "approve")
        page.keyboard.press("Enter")
        expect(page.get_by_text("grace approved at")).to_be_visible()
        page.screenshot(path=window.shots / "pages-approved.png", full_page=True)
        context.close()


def focus(page):
    """What has the focus."""
    return page.locator(":focus")


def reach(page, what, wanted):
    """Press Tab until something has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if focus(page).count() and what() == wanted:
            return
    message = f"{wanted} is out of reach"
    raise AssertionError(message)
