"""The tables of approvals in PostgreSQL, with the rules of :mod:`nbgov.core.approval` in them.

They are the ones of SQLite's schema, word for word where the languages allow it. Names that SQL
cannot fold stand beside their folded form; moments are microseconds since 1970. Whoever owns the
tables can drop their triggers, so give the gateways an account that only reads and writes rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

VERSION = 1
TABLES_SQL = """
CREATE SCHEMA nbgov_approval;
CREATE TABLE nbgov_approval.clock (
    id integer PRIMARY KEY CHECK (id = 1),
    at bigint NOT NULL,
    version integer NOT NULL
);
CREATE TABLE nbgov_approval.approvals (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ticket text COLLATE "C" NOT NULL UNIQUE CHECK (ticket <> ''),
    binding_digest bytea NOT NULL CHECK (length(binding_digest) = 32),
    connection text NOT NULL,
    sql text NOT NULL,
    binds text NOT NULL,
    requester text NOT NULL,
    requester_folded text COLLATE "C" NOT NULL CHECK (requester_folded <> ''),
    verb text NOT NULL,
    tables text NOT NULL,
    requested_at bigint NOT NULL,
    decide_by bigint NOT NULL CHECK (decide_by > requested_at),
    mode text NOT NULL CHECK (mode IN ('once', 'window')),
    valid_s bigint NOT NULL CHECK (valid_s >= 1),
    evidence text NOT NULL,
    undoes text NOT NULL,
    state text NOT NULL CHECK (state IN (
        'requested', 'approved', 'denied', 'consumed', 'cancelled', 'revoked', 'expired'
    )),
    valid_until bigint,
    uses bigint NOT NULL CHECK (uses >= 0),
    ended_by text,
    ended_at bigint,
    ended_why text,
    CHECK (mode <> 'once' OR uses <= 1),
    CHECK (uses = 0 OR valid_until IS NOT NULL),
    CHECK ((state IN ('approved', 'consumed', 'revoked')) <= (valid_until IS NOT NULL)),
    CHECK ((state IN ('requested', 'denied')) <= (valid_until IS NULL)),
    CHECK ((state IN ('cancelled', 'revoked')) = (coalesce(ended_by, '') <> '')),
    CHECK ((ended_by IS NULL) = (ended_at IS NULL) AND (ended_by IS NULL) = (ended_why IS NULL))
);
CREATE UNIQUE INDEX approvals_live ON nbgov_approval.approvals (binding_digest)
    WHERE state IN ('requested', 'approved');
CREATE INDEX approvals_by_binding ON nbgov_approval.approvals (binding_digest);
CREATE TABLE nbgov_approval.quorums (
    ticket text COLLATE "C" NOT NULL REFERENCES nbgov_approval.approvals (ticket),
    rule text COLLATE "C" NOT NULL,
    place integer NOT NULL,
    names text NOT NULL,
    groups text NOT NULL,
    roles text NOT NULL,
    votes_min bigint NOT NULL CHECK (votes_min >= 1),
    mode text NOT NULL CHECK (mode IN ('once', 'window')),
    wait_s bigint NOT NULL,
    valid_s bigint NOT NULL,
    PRIMARY KEY (ticket, rule),
    UNIQUE (ticket, place)
);
CREATE TABLE nbgov_approval.votes (
    ticket text COLLATE "C" NOT NULL REFERENCES nbgov_approval.approvals (ticket),
    place integer NOT NULL,
    voter text NOT NULL,
    voter_folded text COLLATE "C" NOT NULL CHECK (voter_folded <> ''),
    is_approval integer NOT NULL CHECK (is_approval IN (0, 1)),
    reason text NOT NULL,
    at bigint NOT NULL,
    rules text NOT NULL,
    PRIMARY KEY (ticket, voter_folded),
    UNIQUE (ticket, place)
);
CREATE TABLE nbgov_approval.emergencies (
    ticket text COLLATE "C" NOT NULL PRIMARY KEY REFERENCES nbgov_approval.approvals (ticket),
    requester_folded text COLLATE "C" NOT NULL,
    reason text NOT NULL CHECK (btrim(reason) <> ''),
    at bigint NOT NULL,
    reviewed_by text NOT NULL,
    reviewed_by_folded text COLLATE "C" NOT NULL CHECK (reviewed_by_folded <> requester_folded),
    reviewed_at bigint,
    finding text NOT NULL,
    CHECK ((reviewed_at IS NULL) = (reviewed_by_folded = '')),
    CHECK ((reviewed_by = '') = (reviewed_by_folded = ''))
);
CREATE UNIQUE INDEX emergencies_open ON nbgov_approval.emergencies (requester_folded)
    WHERE reviewed_at IS NULL;
"""
KEPT = "what is kept of tickets stays"
# What is refused: table, event, why, and when. "clock_at" is the time of tickets.
RULES: Mapping[str, tuple[str, str, str, str]] = {
    "clock_runs_forward": (
        "clock", "UPDATE", "the clock runs forward", "NEW.at < OLD.at OR NEW.id <> OLD.id",
    ),
    "approvals_begin": (
        "approvals", "INSERT", "a ticket begins as a request",
        "NEW.state <> 'requested' OR NEW.uses <> 0",
    ),
    "approvals_stay": (
        "approvals", "UPDATE", "what was asked stays", """
        (NEW.number, NEW.ticket, NEW.binding_digest, NEW.connection, NEW.sql, NEW.binds,
        NEW.requester, NEW.requester_folded, NEW.verb, NEW.tables, NEW.requested_at,
        NEW.decide_by, NEW.mode, NEW.valid_s, NEW.evidence, NEW.undoes) IS DISTINCT FROM
        (OLD.number, OLD.ticket, OLD.binding_digest, OLD.connection, OLD.sql, OLD.binds,
        OLD.requester, OLD.requester_folded, OLD.verb, OLD.tables, OLD.requested_at,
        OLD.decide_by, OLD.mode, OLD.valid_s, OLD.evidence, OLD.undoes)
        """,
    ),
    "approvals_edges": (
        "approvals", "UPDATE", "a ticket takes no such step", """
        NOT (OLD.state = 'requested' AND NEW.state IN ('requested', 'approved',
        'denied', 'cancelled', 'expired') OR OLD.state = 'approved' AND NEW.state IN
        ('approved', 'consumed', 'cancelled', 'revoked', 'expired'))
        """,
    ),
    "approvals_need_votes": (
        "approvals", "UPDATE", "a quorum lacks votes", """
        NEW.state = 'approved' AND OLD.state = 'requested' AND NOT EXISTS (SELECT 1 FROM
        nbgov_approval.emergencies WHERE ticket = NEW.ticket) AND (NOT EXISTS (SELECT 1
        FROM nbgov_approval.quorums WHERE ticket = NEW.ticket) OR EXISTS (SELECT 1 FROM
        nbgov_approval.votes WHERE ticket = NEW.ticket AND is_approval = 0) OR EXISTS
        (SELECT 1 FROM nbgov_approval.quorums AS q WHERE q.ticket = NEW.ticket AND
        q.votes_min > (SELECT count(*) FROM nbgov_approval.votes AS v WHERE v.ticket =
        q.ticket AND v.is_approval = 1 AND v.rules::jsonb ? q.rule)))
        """,
    ),
    "approvals_in_time": (
        "approvals", "UPDATE", "the time of the ticket is over", """
        NEW.state <> 'expired' AND coalesce(OLD.valid_until, OLD.decide_by) <= clock_at
        """,
    ),
    "approvals_expire_late": (
        "approvals", "UPDATE", "the ticket has time left", """
        NEW.state = 'expired' AND coalesce(OLD.valid_until, OLD.decide_by) > clock_at
        """,
    ),
    "approvals_end": (
        "approvals", "UPDATE", "a consent lasts no longer than was asked", """
        NEW.valid_until IS DISTINCT FROM OLD.valid_until AND NOT (OLD.state =
        'requested' AND NEW.state = 'approved' AND NEW.valid_until <= clock_at +
        NEW.valid_s * 1000000)
        """,
    ),
    "approvals_denied": (
        "approvals", "UPDATE", "a denial is a vote", """
        (NEW.state = 'denied') <> EXISTS (SELECT 1 FROM nbgov_approval.votes WHERE
        ticket = NEW.ticket AND is_approval = 0)
        """,
    ),
    "approvals_used": (
        "approvals", "UPDATE", "a consent is used one time after the other", """
        (NEW.uses <> OLD.uses OR NEW.state = 'consumed') AND NOT (OLD.state = 'approved'
        AND NEW.uses = OLD.uses + 1 AND NEW.state IN ('approved', 'consumed') AND
        (NEW.state = 'consumed') = (NEW.mode = 'once' OR EXISTS (SELECT 1 FROM
        nbgov_approval.emergencies WHERE ticket = NEW.ticket)))
        """,
    ),
    "quorums_come_first": (
        "quorums", "INSERT", "quorums are part of what was asked", """
        NOT EXISTS (SELECT 1 FROM nbgov_approval.approvals WHERE ticket = NEW.ticket AND
        state = 'requested') OR EXISTS (SELECT 1 FROM nbgov_approval.votes WHERE ticket
        = NEW.ticket) OR EXISTS (SELECT 1 FROM nbgov_approval.emergencies WHERE ticket =
        NEW.ticket)
        """,
    ),
    "quorums_stay": ("quorums", "UPDATE", "what was asked stays", "true"),
    "votes_four_eyes": (
        "votes", "INSERT", "a requester cannot vote", """
        EXISTS (SELECT 1 FROM nbgov_approval.approvals WHERE ticket = NEW.ticket AND
        (requester_folded IN (NEW.voter_folded, lower(btrim(NEW.voter))) OR
        lower(btrim(requester)) = lower(btrim(NEW.voter))))
        """,
    ),
    "votes_once": (
        "votes", "INSERT", "everybody has one vote", """
        EXISTS (SELECT 1 FROM nbgov_approval.votes WHERE ticket = NEW.ticket AND
        (voter_folded IN (NEW.voter_folded, lower(btrim(NEW.voter))) OR
        lower(btrim(voter)) = lower(btrim(NEW.voter))))
        """,
    ),
    "votes_in_time": (
        "votes", "INSERT", "the ticket takes no votes", """
        NOT EXISTS (SELECT 1 FROM nbgov_approval.approvals WHERE ticket = NEW.ticket AND
        state = 'requested' AND decide_by > clock_at)
        """,
    ),
    "votes_count": (
        "votes", "INSERT", "a vote counts for quorums of its ticket", """
        jsonb_array_length(NEW.rules::jsonb) = 0 OR EXISTS (SELECT 1 FROM
        jsonb_array_elements_text(NEW.rules::jsonb) AS counted(rule) WHERE counted.rule
        NOT IN (SELECT q.rule FROM nbgov_approval.quorums AS q WHERE q.ticket =
        NEW.ticket))
        """,
    ),
    "votes_stay": ("votes", "UPDATE", "a vote stays", "true"),
    "emergencies_in_time": (
        "emergencies", "INSERT", "the glass cannot be broken now", """
        NEW.reviewed_at IS NOT NULL OR NOT EXISTS (SELECT 1 FROM
        nbgov_approval.approvals WHERE ticket = NEW.ticket AND state = 'requested' AND
        requester_folded = NEW.requester_folded AND decide_by > clock_at)
        """,
    ),
    "emergencies_reviewed_once": (
        "emergencies", "UPDATE", "an emergency is reviewed once", """
        OLD.reviewed_at IS NOT NULL OR NEW.reviewed_at IS NULL OR
        lower(btrim(NEW.reviewed_by)) = OLD.requester_folded OR (NEW.ticket,
        NEW.requester_folded, NEW.reason, NEW.at) IS DISTINCT FROM (OLD.ticket,
        OLD.requester_folded, OLD.reason, OLD.at)
        """,
    ),
}  # fmt: skip
RULE_SQL = """
    CREATE FUNCTION nbgov_approval.{name}() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog AS $rule$
    DECLARE clock_at bigint := (SELECT at FROM nbgov_approval.clock FOR UPDATE);
    BEGIN
        IF {when} THEN
            RAISE EXCEPTION '{why}' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END $rule$
"""
KEPT_TABLES = ("clock", "approvals", "quorums", "votes", "emergencies")


def setup_statements(without: Iterable[str] = ()) -> list[str]:
    """What makes tables and rules, in order.

    Args:
        without: Rules to leave out, to see what notices that they are gone.
    """
    left_out = set(without)
    made = [TABLES_SQL]
    for name, (table, event, why, when) in RULES.items():
        if name not in left_out:
            made += [rule_sql(name, when, why), trigger_sql(name, table, event)]
    made.append(rule_sql("kept", "true", KEPT))
    for table in KEPT_TABLES:
        made.append(trigger_sql("kept", table, "DELETE"))
        made.append(trigger_sql("kept", table, "TRUNCATE", each="STATEMENT"))
    made.append(f"INSERT INTO nbgov_approval.clock VALUES (1, 0, {VERSION})")  # noqa: S608 - ours
    return made


def rule_sql(name: str, when: str, why: str) -> str:
    """A function that refuses a change, as a violated constraint."""
    # Security: FOR UPDATE of the clock makes two changes at once wait for one another, whoever
    # makes them, so that each is looked at with the other one done.
    return RULE_SQL.format(name=name, when=when, why=why)


def trigger_sql(name: str, table: str, event: str, *, each: str = "ROW") -> str:
    """What calls such a function before a change."""
    return (
        f"CREATE TRIGGER {name}_{event.lower()} BEFORE {event} ON nbgov_approval.{table}"
        f" FOR EACH {each} EXECUTE FUNCTION nbgov_approval.{name}()"
    )


def insert_sql(table: str, row: Mapping[str, Any]) -> str:
    """What adds a row to a table."""
    marks = ", ".join(f"${place}" for place in range(1, len(row) + 1))
    names = ", ".join(row)
    return f"INSERT INTO nbgov_approval.{table} ({names}) VALUES ({marks})"  # noqa: S608 - ours


def update_sql(table: str, changes: Mapping[str, Any]) -> str:
    """What changes the row of a ticket, whose name comes last."""
    marks = ", ".join(f"{name} = ${place}" for place, name in enumerate(changes, 1))
    end = f"WHERE ticket = ${len(changes) + 1}"
    return f"UPDATE nbgov_approval.{table} SET {marks} {end}"  # noqa: S608 - ours
