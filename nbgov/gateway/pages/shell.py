"""The frame of every page: who looks, where they can go, and what a browser may do with it.

Pages run nothing and load nothing but the one stylesheet. Every text in them may come from a
stranger; :mod:`nbgov.core.markup` escapes it and :mod:`nbgov.core.visible` shows what it hides.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Form, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute

from nbgov.core.markup import Markup, element, joined
from nbgov.core.visible import visible
from nbgov.errors import Denied, IdentityFailed, NbgovError, RequestInvalid
from nbgov.gateway.control.access import house_of
from nbgov.gateway.control.problems import status_of
from nbgov.gateway.pages import cookies
from nbgov.model import Audience
from nbgov.shown.render import STYLE

if TYPE_CHECKING:
    from nbgov.gateway.guests import Guest
    from nbgov.gateway.house import House

ROOT = "/pages"
SIGN_IN = f"{ROOT}/sign-in"
PLACES = {
    f"{ROOT}/tickets": "Approvals",
    f"{ROOT}/audit": "Audit log",
    f"{ROOT}/lineage": "Lineage",
    f"{ROOT}/live": "Live",
    f"{ROOT}/policy": "Policy",
}
# Security: no script, no image, no frame, nothing from elsewhere; forms go to this gateway only.
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
}
# Whoever comes with such a token is sent to sign in.
STRANGERS = {"token-missing", "token-unknown", "token-expired", "token-revoked", "token-audience"}
OTHER_SITES = {"cross-site", "same-site"}


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody who looks at the pages.

    Attributes:
        house: Everything that the planes share.
        guest: Who it is.
        token: What they came in with.
        path: Where they are.
    """

    house: House
    guest: Guest
    token: str
    path: str


def visit_of(request: Request) -> Visit:
    """Whoever sent a request, by the cookie that they carry.

    Raises:
        IdentityFailed: Nobody is signed in.
        Denied: The principal was stopped.
    """
    house = house_of(request)
    token = cookies.read(house, request, cookies.LOGIN)
    # Security: a bearer token does not count here, and the cookie counts nowhere else.
    return Visit(house, house.enter(token, Audience.CONTROL), token, request.url.path)


Looker = Annotated[Visit, Depends(visit_of)]


def doer_of(request: Request, visit: Looker, form_key: Annotated[str, Form()] = "") -> Visit:
    """Whoever sent a form, once it is one that they were shown.

    Raises:
        Denied: It comes from elsewhere (``form-invalid``).
    """
    # Security: a form of another site would do a deed in the name of whoever looks at it.
    is_ours = request.headers.get("sec-fetch-site", "") not in OTHER_SITES
    if not is_ours or not cookies.is_form_key(visit.house, visit.token, form_key):
        raise Denied(
            "The form was not sent from a page of this login.",
            code="form-invalid",
            why="it comes from another site, or was opened before the last sign-in",
            next_step="open the page again, and send its form",
        )
    return visit


Doer = Annotated[Visit, Depends(doer_of)]


# ---------------------------------------------------------------- pages


def page(
    title: str,
    *parts: str,
    visit: Visit | None = None,
    status: HTTPStatus = HTTPStatus.OK,
    refresh_s: int = 0,
) -> Response:
    """A page of the gateway.

    Args:
        title: What its tab and its heading say.
        parts: Texts and elements below the heading.
        visit: Who looks; nobody, before they have signed in.
        status: The HTTP status.
        refresh_s: After how many seconds the browser asks again, where somebody wants that.
    """
    head = element(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        element("title", f"{title} · nbgov"),
        Markup(f'<link rel="stylesheet" href="{ROOT}/style.css">'),
    )
    body = element(
        "body",
        element("a", "Skip to the content", href="#content", class_="skip"),
        header(visit),
        element("main", element("h1", title), *parts, id="content", tabindex=-1),
    )
    text = f"<!doctype html>\n{element('html', head, body, lang='en')}\n"
    more = {"refresh": str(refresh_s)} if refresh_s else {}
    return HTMLResponse(text, status.value, HEADERS | more)


def header(visit: Visit | None) -> Markup:
    """The top of a page: where one can go, who one is, and the way out."""
    brand = element("a", "nbgov", href=ROOT, class_="brand")
    if visit is None:
        return element("header", brand)
    links = (
        element(
            "a",
            name,
            href=place,
            aria_current="page" if visit.path.startswith(place) else "",
        )
        for place, name in PLACES.items()
    )
    who = element("span", visible(visit.guest.principal.name), class_="who")
    out = form(visit, f"{ROOT}/sign-out", button("Sign out", is_quiet=True))
    return element("header", brand, element("nav", *links, aria_label="Pages"), who, out)


def shown_html(html: str) -> Markup:
    """HTML of :mod:`nbgov.shown`, whose style is in the stylesheet of the pages."""
    # Security: it has escaped every text by itself, and no page may hold a style of its own.
    return Markup(html.replace(STYLE, ""))


# ---------------------------------------------------------------- forms


def form(visit: Visit, action: str, *parts: str, class_: str = "") -> Markup:
    """A form that does something, with what shows that it is one of this login."""
    key = void("input", type="hidden", name_="form_key", value=key_of(visit))
    return element("form", key, *parts, method="post", action=action, class_=class_)


def key_of(visit: Visit) -> str:
    """What the forms of a visit carry."""
    return cookies.form_key(visit.house, visit.token)


def asking(action: str, *parts: str) -> Markup:
    """A form that looks something up."""
    return element("form", *parts, method="get", action=action, class_="asking")


def field(label: str, name: str, value: str = "", *, hint: str = "", required: bool = False) -> str:
    """A labelled line to write in."""
    needed = {"required": "required"} if required else {}
    line = void(
        "input",
        type="text",
        name_=name,
        value=value,
        placeholder=hint,
        autocomplete="off",
        maxlength=300,
        **needed,
    )
    return element("label", element("span", label), line)


def area(label: str, name: str, value: str = "", *, rows: int = 2, required: bool = False) -> str:
    """A labelled space to write in."""
    needed = {"required": "required"} if required else {}
    box = element("textarea", value, name_=name, rows=rows, maxlength=20_000, **needed)
    return element("label", element("span", label), box)


def choice(label: str, name: str, options: Sequence[str], chosen: str) -> Markup:
    """A labelled choice of one among several."""
    made = (
        element("option", one or "any", value=one, selected="selected" if one == chosen else "")
        if one
        else Markup('<option value="">any</option>')
        for one in options
    )
    return element("label", element("span", label), element("select", *made, name_=name))


def button(
    text: str, *, name: str = "", value: str = "", is_quiet: bool = False, told: str = ""
) -> Markup:
    """A button that sends a form; ``told`` is what a screen reader says instead."""
    kind = "quiet" if is_quiet else ""
    return element(
        "button", text, type="submit", name_=name, value=value, class_=kind, aria_label=told
    )


def void(name: str, **attributes: str | int) -> Markup:
    """An element that holds nothing."""
    return Markup(element(name, **attributes).removesuffix(f"</{name}>"))


def facts(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Labelled facts; empty ones are left out."""
    known = ((label, visible_or_made(fact)) for label, fact in pairs if fact)
    rows = (joined(element("dt", label), element("dd", fact)) for label, fact in known)
    return element("dl", *rows, class_="answers")


def visible_or_made(text: str) -> str:
    """A text with its hidden signs shown; an element is as it is."""
    return text if isinstance(text, Markup) else visible(text)


def notice(text: str, *, is_bad: bool = False) -> Markup:
    """A line that a screen reader speaks by itself."""
    return element("p", text, role="alert" if is_bad else "status", class_="notice")


def back_to(path: str) -> Response:
    """The page to look at after a form, so that loading it again sends nothing again."""
    return RedirectResponse(path, HTTPStatus.SEE_OTHER, HEADERS)


# ---------------------------------------------------------------- errors


class PageRoute(APIRoute):
    """A route whose errors are pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError:
                told = RequestInvalid(
                    "The form has not the shape that it should.",
                    code="usage",
                    next_step="open the page again",
                )
                return error_page(request, told)
            except NbgovError as error:
                return error_page(request, error)

        return answer


def error_page(request: Request, error: NbgovError) -> Response:
    """The page of an error; whoever is not signed in is sent to do that, and back."""
    is_stranger = isinstance(error, IdentityFailed) and error.code in STRANGERS
    path = request.url.path
    if is_stranger and request.method == "GET":
        query = f"?{request.url.query}" if request.url.query else ""
        return back_to(sign_in_path(path + query))
    again = element("a", "Sign in", href=sign_in_path("" if request.method == "POST" else path))
    back = element("a", "Go back", href=place_before(path))
    ticket = getattr(error, "ticket", "") or ""
    place = f"{ROOT}/tickets/{quote(ticket, safe='')}"
    told = [
        ("Why", error.why or ""),
        ("What next", error.next_step or ""),
        ("Code", error.code),
        ("Ticket", element("a", visible(ticket), href=place) if ticket else ""),
        ("Receipt", error.receipt or ""),
    ]
    return page(
        "That did not work",
        notice(visible(error.what), is_bad=True),
        facts(told),
        element("p", again if isinstance(error, IdentityFailed) else back),
        status=status_of(error),
    )


def place_before(path: str) -> str:
    """The page whose form or link led to a path.

    >>> place_before("/pages/tickets/1f/sample"), place_before("/pages/live/stop")
    ('/pages/tickets/1f', '/pages/live')
    """
    is_ticket = path.startswith(f"{ROOT}/tickets/")
    return path.removesuffix("/sample") if is_ticket else "/".join(path.split("/")[:3])


def sign_in_path(next_path: str) -> str:
    """Where to sign in, and go on to a page from there."""
    return f"{SIGN_IN}?next={quote(next_path, safe='')}" if next_path else SIGN_IN
