"""The policy in force, and what it says of a statement that is not run."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Response

from nbgov.core import report as reports
from nbgov.core.report import Report
from nbgov.errors import ConfigInvalid, IdentityFailed, NbgovError
from nbgov.gateway.control.access import Caller, Home, require_auditor
from nbgov.gateway.control.problems import AUTH, documented
from nbgov.gateway.control.shapes import PolicyText, Question, Verdict, answer
from nbgov.gateway.guests import Guest
from nbgov.model import Request, StopKind

router = APIRouter(prefix="/v1", tags=["policy"])


@router.get("/policy", response_model=PolicyText, responses=documented(*AUTH))
def show_policy(guest: Caller, house: Home) -> Response:
    """The text of the policy in force, for auditors."""
    require_auditor(house, guest)
    text = guest.session.world.policy.text()
    return answer(PolicyText(guest.session.policy_digest(), text))


@router.post(
    "/check",
    response_model=Verdict,
    responses=documented(*AUTH, HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST),
)
def check(question: Question, guest: Caller, house: Home) -> Response:
    """Decide a statement as the caller's own, and say what would run. Nothing runs."""
    house.require_open(StopKind.CONNECTION, question.connection)
    return answer(Verdict(**dry_run(guest, question)))


def dry_run(guest: Guest, question: Question) -> Report:
    """What a text would come to; of several statements, the worst."""
    session = guest.session
    asked = Request(
        question.connection, question.sql, dict(question.binds), origin={"surface": "control"}
    )
    session.engine(question.connection)
    return reports.join([decided(guest, part) for part in session.parts(asked)])


def decided(guest: Guest, request: Request) -> Report:
    """What one statement would come to; one that cannot be decided is denied."""
    try:
        return reports.of_verdict(guest.session.pipeline.check(request))
    except (ConfigInvalid, IdentityFailed):
        raise  # It is about every statement, and none has been decided.
    except NbgovError as error:
        return reports.of_error(error)
