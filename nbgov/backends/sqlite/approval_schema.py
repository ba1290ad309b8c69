"""The tables of approvals in SQLite, with the rules of :mod:`nbgov.core.approval` in them.

A slip in the code, or a statement typed by hand, cannot make a quorum of zero, let a requester
vote, use a consent twice, or set the clock back. Moments are microseconds since 1970.
"""

APPROVAL_SCHEMA = """
CREATE TABLE approval_clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at INTEGER NOT NULL
) STRICT;
INSERT INTO approval_clock (id, at) VALUES (1, 0);
CREATE TRIGGER approval_clock_runs_forward BEFORE UPDATE ON approval_clock
WHEN NEW.at < OLD.at OR NEW.id <> OLD.id
BEGIN SELECT RAISE(ABORT, 'the clock of tickets runs forward'); END;
CREATE TRIGGER approval_clock_is_one BEFORE INSERT ON approval_clock
WHEN EXISTS (SELECT 1 FROM approval_clock)
BEGIN SELECT RAISE(ABORT, 'there is one clock of tickets'); END;
CREATE TRIGGER approval_clock_is_kept BEFORE DELETE ON approval_clock
BEGIN SELECT RAISE(ABORT, 'the clock of tickets is kept'); END;

CREATE TABLE approvals (
    number INTEGER PRIMARY KEY,
    ticket TEXT NOT NULL UNIQUE CHECK (ticket <> ''),
    binding_digest BLOB NOT NULL CHECK (length(binding_digest) = 32),
    connection TEXT NOT NULL,
    sql TEXT NOT NULL,
    binds TEXT NOT NULL CHECK (json_valid(binds)),
    requester TEXT NOT NULL,
    requester_folded TEXT NOT NULL CHECK (requester_folded <> ''),
    verb TEXT NOT NULL,
    tables TEXT NOT NULL CHECK (json_valid(tables)),
    requested_at INTEGER NOT NULL,
    decide_by INTEGER NOT NULL CHECK (decide_by > requested_at),
    mode TEXT NOT NULL CHECK (mode IN ('once', 'window')),
    valid_s INTEGER NOT NULL CHECK (valid_s >= 1),
    evidence TEXT NOT NULL CHECK (json_valid(evidence)),
    undoes TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN (
        'requested', 'approved', 'denied', 'consumed', 'cancelled', 'revoked', 'expired'
    )),
    valid_until INTEGER,
    uses INTEGER NOT NULL CHECK (uses >= 0),
    ended_by TEXT,
    ended_at INTEGER,
    ended_why TEXT,
    CHECK (mode <> 'once' OR uses <= 1),
    CHECK (uses = 0 OR valid_until IS NOT NULL),
    CHECK ((state IN ('approved', 'consumed', 'revoked')) <= (valid_until IS NOT NULL)),
    CHECK ((state IN ('requested', 'denied')) <= (valid_until IS NULL)),
    CHECK ((state IN ('cancelled', 'revoked')) = (coalesce(ended_by, '') <> '')),
    CHECK ((ended_by IS NULL) = (ended_at IS NULL) AND (ended_by IS NULL) = (ended_why IS NULL))
) STRICT;
CREATE UNIQUE INDEX approvals_live ON approvals (binding_digest)
    WHERE state IN ('requested', 'approved');
CREATE INDEX approvals_by_binding ON approvals (binding_digest);

CREATE TABLE quorums (
    ticket TEXT NOT NULL REFERENCES approvals (ticket),
    rule TEXT NOT NULL,
    place INTEGER NOT NULL,
    names TEXT NOT NULL CHECK (json_valid(names)),
    groups TEXT NOT NULL CHECK (json_valid(groups)),
    roles TEXT NOT NULL CHECK (json_valid(roles)),
    votes_min INTEGER NOT NULL CHECK (votes_min >= 1),
    mode TEXT NOT NULL CHECK (mode IN ('once', 'window')),
    wait_s INTEGER NOT NULL,
    valid_s INTEGER NOT NULL,
    PRIMARY KEY (ticket, rule),
    UNIQUE (ticket, place)
) STRICT;

CREATE TABLE votes (
    ticket TEXT NOT NULL REFERENCES approvals (ticket),
    place INTEGER NOT NULL,
    voter TEXT NOT NULL,
    voter_folded TEXT NOT NULL CHECK (voter_folded <> ''),
    is_approval INTEGER NOT NULL CHECK (is_approval IN (0, 1)),
    reason TEXT NOT NULL,
    at INTEGER NOT NULL,
    rules TEXT NOT NULL CHECK (json_valid(rules)),
    PRIMARY KEY (ticket, voter_folded),
    UNIQUE (ticket, place)
) STRICT;

CREATE TABLE emergencies (
    ticket TEXT NOT NULL PRIMARY KEY REFERENCES approvals (ticket),
    requester_folded TEXT NOT NULL,
    reason TEXT NOT NULL CHECK (trim(reason) <> ''),
    at INTEGER NOT NULL,
    reviewed_by TEXT NOT NULL,
    reviewed_by_folded TEXT NOT NULL CHECK (reviewed_by_folded <> requester_folded),
    reviewed_at INTEGER,
    finding TEXT NOT NULL,
    CHECK ((reviewed_at IS NULL) = (reviewed_by_folded = '')),
    CHECK ((reviewed_by = '') = (reviewed_by_folded = ''))
) STRICT;
-- Nobody breaks the glass again before somebody looked at the last time.
CREATE UNIQUE INDEX emergencies_open ON emergencies (requester_folded) WHERE reviewed_at IS NULL;

CREATE TRIGGER approvals_begin BEFORE INSERT ON approvals
WHEN NEW.state <> 'requested' OR NEW.uses <> 0
    OR EXISTS (SELECT 1 FROM approvals WHERE ticket = NEW.ticket OR number = NEW.number)
    OR EXISTS (
        SELECT 1 FROM approvals
        WHERE binding_digest = NEW.binding_digest AND state IN ('requested', 'approved')
    )
BEGIN SELECT RAISE(ABORT, 'a ticket begins as a request'); END;

CREATE TRIGGER approvals_stay BEFORE UPDATE OF
    number, ticket, binding_digest, connection, sql, binds, requester, requester_folded, verb,
    tables, requested_at, decide_by, mode, valid_s, evidence, undoes
ON approvals
BEGIN SELECT RAISE(ABORT, 'what was asked stays'); END;

CREATE TRIGGER approvals_edges BEFORE UPDATE ON approvals
WHEN NOT (
    OLD.state = 'requested'
        AND NEW.state IN ('requested', 'approved', 'denied', 'cancelled', 'expired')
    OR OLD.state = 'approved'
        AND NEW.state IN ('approved', 'consumed', 'cancelled', 'revoked', 'expired')
)
BEGIN SELECT RAISE(ABORT, 'a ticket takes no such step'); END;

CREATE TRIGGER approvals_need_votes BEFORE UPDATE ON approvals
WHEN NEW.state = 'approved' AND OLD.state = 'requested'
    AND NOT EXISTS (SELECT 1 FROM emergencies WHERE ticket = NEW.ticket)
    AND (
        NOT EXISTS (SELECT 1 FROM quorums WHERE ticket = NEW.ticket)
        OR EXISTS (SELECT 1 FROM votes WHERE ticket = NEW.ticket AND is_approval = 0)
        OR EXISTS (
            SELECT 1 FROM quorums AS q WHERE q.ticket = NEW.ticket AND q.votes_min > (
                SELECT count(*) FROM votes AS v
                WHERE v.ticket = q.ticket AND v.is_approval = 1
                    AND EXISTS (SELECT 1 FROM json_each(v.rules) WHERE value = q.rule)
            )
        )
    )
BEGIN SELECT RAISE(ABORT, 'a quorum lacks votes'); END;

CREATE TRIGGER approvals_in_time BEFORE UPDATE ON approvals
WHEN NEW.state <> 'expired' AND coalesce(OLD.valid_until, OLD.decide_by)
    <= (SELECT at FROM approval_clock)
BEGIN SELECT RAISE(ABORT, 'the time of the ticket is over'); END;

CREATE TRIGGER approvals_expire_late BEFORE UPDATE ON approvals
WHEN NEW.state = 'expired' AND coalesce(OLD.valid_until, OLD.decide_by)
    > (SELECT at FROM approval_clock)
BEGIN SELECT RAISE(ABORT, 'the ticket has time left'); END;

CREATE TRIGGER approvals_end BEFORE UPDATE ON approvals
WHEN NEW.valid_until IS NOT OLD.valid_until AND NOT (
    OLD.state = 'requested' AND NEW.state = 'approved'
    AND NEW.valid_until <= (SELECT at FROM approval_clock) + NEW.valid_s * 1000000
)
BEGIN SELECT RAISE(ABORT, 'a consent lasts no longer than was asked'); END;

CREATE TRIGGER approvals_denied BEFORE UPDATE ON approvals
WHEN (NEW.state = 'denied') <> EXISTS (
    SELECT 1 FROM votes WHERE ticket = NEW.ticket AND is_approval = 0
)
BEGIN SELECT RAISE(ABORT, 'a denial is a vote'); END;

CREATE TRIGGER approvals_used BEFORE UPDATE ON approvals
WHEN (NEW.uses <> OLD.uses OR NEW.state = 'consumed') AND NOT (
    OLD.state = 'approved' AND NEW.uses = OLD.uses + 1
    AND (NEW.state = 'consumed') = (
        NEW.mode = 'once' OR EXISTS (SELECT 1 FROM emergencies WHERE ticket = NEW.ticket)
    )
    AND NEW.state IN ('approved', 'consumed')
)
BEGIN SELECT RAISE(ABORT, 'a consent is used one time after the other'); END;

CREATE TRIGGER approvals_are_kept BEFORE DELETE ON approvals
BEGIN SELECT RAISE(ABORT, 'a ticket is kept'); END;

CREATE TRIGGER quorums_come_first BEFORE INSERT ON quorums
WHEN coalesce((SELECT state FROM approvals WHERE ticket = NEW.ticket), '') <> 'requested'
    OR EXISTS (SELECT 1 FROM votes WHERE ticket = NEW.ticket)
    OR EXISTS (SELECT 1 FROM emergencies WHERE ticket = NEW.ticket)
    OR EXISTS (
        SELECT 1 FROM quorums
        WHERE ticket = NEW.ticket AND (rule = NEW.rule OR place = NEW.place)
    )
BEGIN SELECT RAISE(ABORT, 'quorums are part of what was asked'); END;
CREATE TRIGGER quorums_stay BEFORE UPDATE ON quorums
BEGIN SELECT RAISE(ABORT, 'what was asked stays'); END;
CREATE TRIGGER quorums_are_kept BEFORE DELETE ON quorums
BEGIN SELECT RAISE(ABORT, 'what was asked is kept'); END;

CREATE TRIGGER votes_four_eyes BEFORE INSERT ON votes
WHEN EXISTS (
    SELECT 1 FROM approvals WHERE ticket = NEW.ticket AND (
        requester_folded IN (NEW.voter_folded, lower(trim(NEW.voter)))
        OR lower(trim(requester)) = lower(trim(NEW.voter))
    )
)
BEGIN SELECT RAISE(ABORT, 'a requester cannot vote'); END;
CREATE TRIGGER votes_once BEFORE INSERT ON votes
WHEN EXISTS (
    SELECT 1 FROM votes WHERE ticket = NEW.ticket AND (
        voter_folded IN (NEW.voter_folded, lower(trim(NEW.voter)))
        OR lower(trim(voter)) = lower(trim(NEW.voter)) OR place = NEW.place
    )
)
BEGIN SELECT RAISE(ABORT, 'everybody has one vote'); END;
CREATE TRIGGER votes_in_time BEFORE INSERT ON votes
WHEN NOT EXISTS (
    SELECT 1 FROM approvals WHERE ticket = NEW.ticket AND state = 'requested'
        AND decide_by > (SELECT at FROM approval_clock)
)
BEGIN SELECT RAISE(ABORT, 'the ticket takes no votes'); END;
CREATE TRIGGER votes_count BEFORE INSERT ON votes
WHEN NOT EXISTS (SELECT 1 FROM json_each(NEW.rules)) OR EXISTS (
    SELECT 1 FROM json_each(NEW.rules)
    WHERE value NOT IN (SELECT rule FROM quorums WHERE ticket = NEW.ticket)
)
BEGIN SELECT RAISE(ABORT, 'a vote counts for quorums of its ticket'); END;
CREATE TRIGGER votes_stay BEFORE UPDATE ON votes
BEGIN SELECT RAISE(ABORT, 'a vote stays'); END;
CREATE TRIGGER votes_are_kept BEFORE DELETE ON votes
BEGIN SELECT RAISE(ABORT, 'a vote is kept'); END;

CREATE TRIGGER emergencies_in_time BEFORE INSERT ON emergencies
WHEN NEW.reviewed_at IS NOT NULL OR NOT EXISTS (
    SELECT 1 FROM approvals WHERE ticket = NEW.ticket AND state = 'requested'
        AND requester_folded = NEW.requester_folded
        AND decide_by > (SELECT at FROM approval_clock)
)
    OR EXISTS (SELECT 1 FROM emergencies WHERE ticket = NEW.ticket)
    OR EXISTS (
        SELECT 1 FROM emergencies
        WHERE requester_folded = NEW.requester_folded AND reviewed_at IS NULL
    )
BEGIN SELECT RAISE(ABORT, 'the glass cannot be broken now'); END;
CREATE TRIGGER emergencies_reviewed_once BEFORE UPDATE ON emergencies
WHEN OLD.reviewed_at IS NOT NULL OR NEW.reviewed_at IS NULL
    OR lower(trim(NEW.reviewed_by)) = OLD.requester_folded
    OR NEW.ticket <> OLD.ticket OR NEW.requester_folded <> OLD.requester_folded
    OR NEW.reason <> OLD.reason OR NEW.at <> OLD.at
BEGIN SELECT RAISE(ABORT, 'an emergency is reviewed once'); END;
CREATE TRIGGER emergencies_are_kept BEFORE DELETE ON emergencies
BEGIN SELECT RAISE(ABORT, 'an emergency is kept'); END;
"""
