"""Audit logs in a real PostgreSQL server, and ways in which it fails."""

from __future__ import annotations

import dataclasses
import signal
import threading
from datetime import UTC, datetime, timedelta

from sqlalchemy.engine import make_url

from nbgov.backends.memory import MemoryClock, MemorySigner
from nbgov.backends.postgresql.audit_heads import PostgreSQLHeads
from nbgov.backends.postgresql.audit_log import PostgreSQLAuditLog, PostgreSQLEvidence
from nbgov.backends.postgresql.audit_tables import Tables
from nbgov.backends.postgresql.audit_writer import WriterTerms

AT = datetime(2026, 1, 2, tzinfo=UTC)
# Records of the past are no clock that went back.
LATER = AT + timedelta(days=1)


class PostgresDisk:
    """Logs in the tables of one database, which are empty at first."""

    def __init__(self, url):
        self.url = make_url(url)
        self.run("DROP SCHEMA IF EXISTS nbgov_audit CASCADE")

    def open(self, *, origin="log", **options):
        return PostgreSQLAuditLog(self.url, origin=origin, **given(options))

    def open_heads(self, *, origin="log/heads", **options):
        return PostgreSQLHeads(self.url, origin=origin, **given(options))

    def evidence(self, origin="log"):
        return PostgreSQLEvidence(self.url, origin)

    def run(self, sql):
        """Run a statement by hand, as whoever owns the database can."""
        with Tables(self.url) as tables:
            return tables.link.execute_simple(sql).rows

    def end_connections(self):
        """End every connection of a gateway, as a restart of the server does."""
        self.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'nbgov' AND pid <> pg_backend_pid()"
        )

    def fail(self, log, *, is_kept, error=None):
        """Let the next append fail, or be interrupted, before or after it is durable."""
        log.recover()
        if not is_kept and error is None:
            self.end_connections()
        elif not is_kept:
            log.opened = interrupted_once(log)
        else:
            tables = log.writer.tables
            commit = tables.commit

            def commit_and_fail(*arguments, **options):
                tables.commit = commit
                commit(*arguments, **options)
                if error is None:
                    raise OSError
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

            tables.commit = commit_and_fail


def given(options):
    """What opens a log: what a test says, and defaults; terms may stand among the rest."""
    fixed = {"session": "s", "clock": MemoryClock(LATER), "signer": MemorySigner()}
    names = {one.name for one in dataclasses.fields(WriterTerms)}
    terms = WriterTerms(**{name: options[name] for name in names & options.keys()})
    rest = {name: value for name, value in options.items() if name not in names}
    return fixed | rest | {"terms": terms}


def interrupted_once(log):
    """In the place of a method of the log: Ctrl-C at the first call."""

    def opened():
        del log.opened
        raise KeyboardInterrupt

    return opened
