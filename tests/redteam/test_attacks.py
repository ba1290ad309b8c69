"""One test for each attack of the threat model: what a notebook tries, and what comes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from tests.redteam.conftest import DATABASE_PASSWORD, NOTEBOOK_UID

ROOT = Path(__file__).parents[2]
GOVERNED = """%%govsql warehouse --as list
SELECT id, email FROM people ORDER BY id LIMIT 2
"""
DENIED = ("PermissionError", "Permission denied")


def is_denied(told: str) -> bool:
    """Whether the system has refused something."""
    return any(word in told for word in DENIED)


def control_token(attack, who="ada", groups=("analysts",)):
    """A token of the control plane, for somebody with a proof of their own."""
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": attack.issuer.token(
            sub=f"s-{who}" if who != "ada" else "u1", preferred_username=who, groups=list(groups)
        ),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "audience": "nbgov-control",
    }
    answer = requests.post(f"{attack.gateway.control}/v1/session", data=form, timeout=30)
    answer.raise_for_status()
    return answer.json()["access_token"]


def ask(attack, path, *, token, body=None):
    """A call of the control plane."""
    headers = {"Authorization": f"Bearer {token}"}
    method = "GET" if body is None else "POST"
    return requests.request(
        method, attack.gateway.control + path, headers=headers, json=body, timeout=30
    )


def test_the_kernel_is_who_it_is_said_to_be(attack):
    """The attacks run under another account than the gateway, and nbgov works there: no attack."""
    assert f"uid {NOTEBOOK_UID}" in attack.run("import os; print('uid', os.getuid())")
    attack.run(GOVERNED.replace("--as list", "rows <<"))
    told = attack.run("print(rows.to_dict('records'))")
    assert told.count("***") == 2, told
    assert "example.com" not in told


def test_environment(attack):
    """The environment of the gateway, with the database's password in it, cannot be read."""
    told = attack.run("print(open(f'/proc/{os.environ[\"GATEWAY_PID\"]}/environ').read())")
    assert is_denied(told)
    assert DATABASE_PASSWORD not in told


def test_memory(attack):
    """The memory of the gateway cannot be opened, nor its descriptors be listed."""
    for name in ("mem", "maps"):
        told = attack.run(
            f"print(open(f'/proc/{{os.environ[\"GATEWAY_PID\"]}}/{name}', 'rb').read(10))"
        )
        assert is_denied(told), told
    assert is_denied(attack.run("print(os.listdir(f'/proc/{os.environ[\"GATEWAY_PID\"]}/fd'))"))


@pytest.mark.parametrize(
    "name",
    ["nbgov.yaml", "policy.yaml", "warehouse.duckdb", ".nbgov/audit.key", ".nbgov/gateway.sqlite"],
)
def test_files(attack, name):
    """Configuration, policy, database, keys and logins cannot be read, written or listed."""
    path = f"os.path.join(os.environ['GATEWAY_HOME'], {name!r})"
    assert is_denied(attack.run(f"open({path}, 'rb').read()"))
    assert is_denied(attack.run(f"open({path}, 'ab').write(b'x')"))
    assert is_denied(attack.run(f"os.unlink({path})"))


def test_objects(attack):
    """No object of the client's process holds a credential of the database."""
    attack.run(GOVERNED)
    told = attack.run(
        "import gc\n"
        "mark = ':' + '//127.0.0.1:1' + '/none'\n"
        "texts = [one for one in gc.get_objects() if isinstance(one, dict)]\n"
        "held = [v for one in texts for v in list(one.values()) if isinstance(v, str) and mark in v]\n"
        "print('found', len([v for v in held if v != mark]), 'DATABASE_PASSWORD' in os.environ)"
    )
    assert "found 0 False" in told


def test_driver(attack):
    """A driver of one's own does not open the database's file."""
    told = attack.run(
        "import duckdb\n"
        "duckdb.connect(os.path.join(os.environ['GATEWAY_HOME'], 'warehouse.duckdb'), read_only=True)"
    )
    assert "Error" in told or "Exception" in told
    assert is_denied(told), told


def test_monkeypatch(attack):
    """Replacing policy, guard and masks in the kernel changes nothing of what comes back."""
    told = attack.run(
        "import nbgov.core.guard, nbgov.core.masking, nbgov.core.policy, nbgov.pipeline\n"
        "saved = nbgov.core.guard.check, nbgov.core.masking.mask, nbgov.pipeline.decide\n"
        "nbgov.core.guard.check = lambda *a, **k: ()\n"
        "nbgov.core.masking.mask = lambda batch, *a, **k: (batch, {})\n"
        "nbgov.pipeline.decide = None\n"
        "session = nbgov.connect()\n"
        "print(session.sql('SELECT email FROM people ORDER BY id LIMIT 1').to_arrow().to_pylist())\n"
        "try:\n    session.sql('SELECT * FROM salaries')\n"
        "except nbgov.NbgovError as error:\n    print(error.code)\n"
        "session.close()\n"
        "nbgov.core.guard.check, nbgov.core.masking.mask, nbgov.pipeline.decide = saved\n"
    )
    assert "***" in told, told
    assert "unknown-table" in told


def test_other_magic(attack):
    """pandas and SQLAlchemy reach the database only through the gateway, masked."""
    told = attack.run(
        "import pandas, sqlalchemy\n"
        "engine = sqlalchemy.create_engine('nbgov://warehouse')\n"
        "print(pandas.read_sql('SELECT email FROM people ORDER BY id LIMIT 1', engine).to_dict('records'))\n"
        "engine.dispose()"
    )
    assert "***" in told, told
    assert is_denied(
        attack.run(
            "sqlalchemy.create_engine('sqlite:///' + os.environ['GATEWAY_HOME'] + '/.nbgov/state.sqlite').connect()"
        )
        + attack.run("os.listdir(os.environ['GATEWAY_HOME'] + '/.nbgov')")
    )


def test_log(attack):
    """The log says what the kernel did, and the kernel can neither read, edit nor remove it."""
    attack.run("%%govsql warehouse\nSELECT id FROM people WHERE id = 424242")
    log = attack.log()
    assert "nbgov" in log
    assert '"principal":"ada"' in log
    folder = "os.environ['GATEWAY_HOME'] + '/.nbgov/audit'"
    assert is_denied(attack.run(f"os.listdir({folder})"))
    assert is_denied(attack.run(f"os.rename({folder}, '/tmp/log')"))


WRITE = "UPDATE people SET city = 'taken' WHERE id = {}"


def ticket_of(attack, number):
    """The ticket that the kernel's session has opened for a write."""
    sql = WRITE.format(number)
    attack.run(
        "session = nbgov.connect()\n"
        f"try:\n    session.sql({sql!r})\nexcept nbgov.ApprovalNeeded as error:\n    found = error.ticket\n"
    )
    told = attack.run("print('ticket=' + found)")
    return told.partition("ticket=")[2].split()[0]


def test_forged_approval(attack):
    """The requester's own vote is refused on every way, and the statement does not run."""
    attack.run("import nbgov")
    ticket = ticket_of(attack, 1)
    told = attack.run(
        f"try:\n    session.vote({ticket!r}, is_approval=True)\nexcept nbgov.NbgovError as error:\n    print(error.code)"
    )
    assert "self-approval" in told, told
    own = ask(
        attack,
        f"/v1/approvals/{ticket}/votes",
        token=control_token(attack),
        body={"is_approval": True, "reason": ""},
    )
    assert (own.status_code, own.json()["code"]) == (403, "self-approval")
    token = attack.run(
        "from nbgov.login import OPENED; print('token=' + next(iter(OPENED.values())).data())"
    )
    stolen = ask(
        attack,
        f"/v1/approvals/{ticket}/votes",
        token=token.partition("token=")[2].split()[0],
        body={"is_approval": True, "reason": ""},
    )
    assert (stolen.status_code, stolen.json()["code"]) == (401, "token-audience")
    again = attack.run(
        f"try:\n    session.sql({WRITE.format(1)!r})\nexcept nbgov.ApprovalNeeded as error:\n    print('waits', error.ticket)"
    )
    assert f"waits {ticket}" in again


def approve(attack, ticket):
    """Let a reviewer approve a ticket in her own session."""
    token = control_token(attack, "grace", ("stewards", "analysts"))
    answer = ask(
        attack,
        f"/v1/approvals/{ticket}/votes",
        token=token,
        body={"is_approval": True, "reason": "fine"},
    )
    assert answer.status_code == 200, answer.text


def test_replay(attack):
    """An approval clears one run; the second one waits for another."""
    ticket = ticket_of(attack, 2)
    approve(attack, ticket)
    first = attack.run(f"print('rows', session.sql({WRITE.format(2)!r}).summary.rows_affected)")
    assert "rows 1" in first, first
    second = attack.run(
        f"try:\n    session.sql({WRITE.format(2)!r})\nexcept nbgov.ApprovalNeeded as error:\n    print('waits', error.ticket != {ticket!r})"
    )
    assert "waits True" in second


def test_after_approval(attack):
    """A statement that was changed after the approval is another one, by a value or a space."""
    ticket = ticket_of(attack, 3)
    approve(attack, ticket)
    for sql in (WRITE.format(4), WRITE.format(3) + " ", WRITE.format(3).replace("taken", "Taken")):
        told = attack.run(
            f"try:\n    session.sql({sql!r}, ticket={ticket!r})\n    print('ran')\nexcept nbgov.NbgovError as error:\n    print(error.code)"
        )
        assert "ran" not in told.split(), told
        assert "ticket-conflict" in told or "approval-needed" in told, told


def test_spill(attack):
    """No raw value is in a file that the gateway has made, and it writes no core dump."""
    attack.run(GOVERNED)
    raw = b"user77@example.com"
    written = [
        path for path in attack.gateway.folder.rglob("*")
        if path.is_file() and not path.name.startswith("warehouse.duckdb") and raw in path.read_bytes()
    ]  # fmt: skip
    assert written == []
    limits = Path(f"/proc/{attack.gateway.process.pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]


def test_injection(attack):
    """Markup, terminal codes and reversed text in a value show as characters, and do nothing."""
    value = "<script>alert(1)</script>\x1b[2J\u202e"
    cell = attack.front.run(f"%%govsql warehouse\nSELECT '{value}' AS v FROM people LIMIT 1")
    assert cell.outputs
    assert "<script>" not in cell.shown("text/html")
    shown = json.dumps(cell.outputs)
    assert "\\u001b" not in shown
    assert "\\u202e" not in shown


def test_audience(attack):
    """A token is good for its own plane, until its owner logs out."""
    token = control_token(attack, "grace", ("stewards", "analysts"))
    told = attack.run(
        "import pyarrow.flight as fl\n"
        "from nbgov.core.wire import write_command\n"
        f"options = fl.FlightCallOptions(headers=[(b'authorization', b'Bearer {token}')])\n"
        "from nbgov.wiring import load_config\n"
        "url = load_config(None)[1].connections['warehouse'].url\n"
        "fl.connect(url).do_get(fl.Ticket(write_command('CommandGetCatalogs')), options).read_all()"
    )
    assert "token-audience" in told, told
    assert ask(attack, "/v1/whoami", token=token).status_code == 200
    headers = {"Authorization": f"Bearer {token}"}
    requests.delete(f"{attack.gateway.control}/v1/session", headers=headers, timeout=30)
    assert ask(attack, "/v1/whoami", token=token).json()["code"] == "token-revoked"


def test_flood(attack):
    """One principal cannot take every stream: the fifth open result is refused, others are served."""
    told = attack.run(
        "import nbgov\n"
        "sessions = [nbgov.connect() for _ in range(6)]\n"
        "open_results, refused = [], []\n"
        "for one in sessions:\n"
        "    try:\n"
        "        result = one.sql('SELECT a.a, b.c FROM numbers a, numbers b')\n"
        "        next(iter(result.batches()))\n"
        "        open_results.append(result)\n"
        "    except nbgov.NbgovError as error:\n"
        "        refused.append(error.code)\n"
        "print(len(open_results), refused)"
    )
    assert "4 ['gateway-busy', 'gateway-busy']" in told, told
    token = control_token(attack, "grace", ("stewards", "analysts"))
    assert ask(attack, "/v1/approvals", token=token).status_code == 200
    freed = attack.run(
        "[one.close() for one in open_results]; [one.close() for one in sessions]\n"
        "import time\n"
        "session = nbgov.connect()\n"
        "for _ in range(100):\n"
        "    try:\n        print(session.sql('SELECT 1 AS one').to_arrow().to_pylist()); break\n"
        "    except nbgov.NbgovError:\n        time.sleep(0.1)\n"
    )
    assert "[{'one': 1}]" in freed, freed


def test_fatigue(attack):
    """Asking again for the same thing opens no second ticket."""
    assert ticket_of(attack, 5) == ticket_of(attack, 5)


def test_tags(attack):
    """What a notebook claims of itself does not outdo what the gateway has seen."""
    attack.run(
        "session = nbgov.connect()\n"
        "session.sql('SELECT id FROM people LIMIT 1', origin={'login': 'forged', 'address': '10.9.8.7', 'notebook': 'claimed.ipynb'}).to_arrow()"
    )
    log = attack.log()
    assert "claimed.ipynb" in log
    assert "10.9.8.7" not in log
    assert '"login":"forged"' not in log


def test_away(place, issuer, attack):
    """Without the gateway nothing runs: there is no way on in the client."""
    from tests.redteam.conftest import started

    (place / "second").mkdir(exist_ok=True)
    second = started(place / "second", issuer)
    config = f"version: 1\nconnections:\n  w: {{kind: gateway, url: '{second.data}', control: '{second.control}', connection: warehouse}}\n"
    attack.run(f"open('other.yaml', 'w').write({config!r})")
    told = attack.run(
        "other = nbgov.connect('other.yaml'); print(other.sql('SELECT 1 AS one').to_arrow().to_pylist())"
    )
    assert "[{'one': 1}]" in told, told
    second.stop()
    told = attack.run(
        "try:\n    other.sql('SELECT 1 AS one').to_arrow(); print('ran')\nexcept nbgov.NbgovError as error:\n    print(error.code)"
    )
    assert "ran" not in told.split()
    assert "gateway-unavailable" in told, told


def test_every_attack_of_the_threat_model_has_its_test():
    """The table of attacks names these tests, all of them and no others: no attack."""
    page = (ROOT / "docs/concepts/threat-model.md").read_text(encoding="utf-8")
    section = page.partition("## What a gateway protects against")[2].partition("\n## ")[0]
    named = {
        row.rpartition("`")[0].rpartition("`")[2]
        for row in section.splitlines()
        if row.endswith("` |")
    }
    tested = {
        name.removeprefix("test_")
        for name, one in globals().items()
        if name.startswith("test_") and "no attack" not in (one.__doc__ or "")
    }
    assert named == tested
