"""The process of a gateway: how it starts, what it shuts, how it ends, and what prepares it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.flight as fl
import pytest
import requests
import yaml
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from nbgov.cli import main
from nbgov.config import parse
from nbgov.core.transport import write_request
from nbgov.core.wire import pack
from nbgov.errors import ConfigInvalid
from nbgov.gateway.control.serving import start_control_plane
from nbgov.gateway.deploying import certificate
from nbgov.gateway.examining import examine, good_for
from nbgov.gateway.flight.serving import Tls, start_data_plane
from nbgov.gateway.opening import open_house
from nbgov.gateway.policies import HeldPolicy
from nbgov.gateway.process import require_private, start
from nbgov.model import Audience, Node, Request
from tests.gateway.issuer import AUDIENCE, Issuer
from tests.gateway_scene import POLICY, make_folder, make_house, token

COMMAND = [sys.executable, "-c", "from nbgov.cli import main; main()"]
CONFIG = """
version: 1
policy: policy.yaml
connections:
  warehouse: {{kind: duckdb, path: warehouse.duckdb}}
gateway:
  data: 127.0.0.1:{data}
  control: 127.0.0.1:{control}
  issuers: {issuers}
  roles: {{stewards: [approver]}}
"""
LONG = "SELECT count(*) AS n FROM numbers AS x, numbers AS y, numbers AS z WHERE x.a + y.a > z.b"
WAIT_S = 30


def ticket(sql):
    """A request, as our own client sends it."""
    body = write_request(Request("warehouse", sql), connection="warehouse")
    return fl.Ticket(pack("type.googleapis.com/nbgov.v1.Request", body))


def rows(reader):
    """Rows of each batch, until the stream ends."""
    while True:
        try:
            chunk = reader.read_chunk()
        except StopIteration:
            return
        if chunk.data is not None:
            yield chunk.data.num_rows


def until(holds, what):
    """Wait for a state."""
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def free_port():
    with socket.socket() as link:
        link.bind(("127.0.0.1", 0))
        return link.getsockname()[1]


class Served:
    """``nbgov gateway serve``, and a house beside it on the same store."""

    def __init__(self, folder, *options, data=0, control=0, issuers="{}", policy=POLICY):
        self.folder = folder
        config = CONFIG.format(data=data, control=control, issuers=issuers)
        self.path = make_folder(folder, config=config, policy=policy)
        with (folder / "served.log").open("w") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "--config", str(self.path), "gateway", "serve", *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.house = None
        told = self.process.stdout.readline()
        assert "Serving" in told, self.log()
        words = dict(part.split() for part in told.split(": ", 1)[1].split(", "))
        self.data, self.control = words["data"], words["control"]
        self.house = open_house(self.path)

    def log(self):
        return (self.folder / "served.log").read_text()

    def options(self, who="ada"):
        """What says who calls."""
        header = f"Bearer {token(self.house, who)}".encode()
        return fl.FlightCallOptions(headers=[(b"authorization", header)], timeout=WAIT_S)

    def ask(self, sql, options=None):
        """How many rows a statement gives."""
        with fl.connect(self.data) as client:
            return sum(rows(client.do_get(ticket(sql), options or self.options())))

    def nodes(self):
        now = datetime.now(UTC)
        return list(self.house.store.nodes(since=now - timedelta(minutes=1)))

    def works(self):
        return [work for node in self.nodes() for work in node.works]

    def end(self, number=signal.SIGTERM):
        """Ask it to end, and its exit code."""
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)

    def close(self):
        if self.house is not None:
            self.house.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def served(tmp_path):
    found = []

    def serve(*options, **more):
        found.append(Served(tmp_path, *options, **more))
        return found[-1]

    yield serve
    for one in found:
        one.close()


def nbgov(path, *words):
    return CliRunner().invoke(main, ["--config", str(path), *words])


# ---------------------------------------------------------------- it runs, and ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_brings_what_runs_to_its_end(served, number):
    """Told to end, it delivers the results that are open, takes nothing new, and says all is well."""
    gateway = served()
    with fl.connect(gateway.data) as client:
        found = rows(client.do_get(ticket("SELECT a FROM numbers"), gateway.options()))
        first = next(found)
        gateway.process.send_signal(number)
        until(lambda: "draining" in gateway.log(), "it hears of the signal")
        assert first + sum(found) == 200_000
    assert gateway.process.wait(WAIT_S) == 0
    assert gateway.nodes() == []


def test_its_memory_and_files_are_shut(served):
    """It makes no core dumps, its files are its own, and tracing it takes more than its account."""
    gateway = served()
    proc = Path(f"/proc/{gateway.process.pid}")
    assert "Max core file size        0                    0" in (proc / "limits").read_text()
    status = dict(
        line.split(":\t") for line in (proc / "status").read_text().splitlines() if ":\t" in line
    )
    assert status["Umask"] == "0077"
    for path in (gateway.folder / ".nbgov").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    code = (
        "import ctypes; from nbgov.gateway.process import harden; harden();"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], check=False, capture_output=True, text=True
        ).stdout
        == "0\n"
    )


def test_a_policy_changes_without_a_restart_or_not_at_all(served):
    """A new text rules the next statement; a broken one changes nothing, and readiness says so."""
    gateway = served()
    assert gateway.ask("SELECT a FROM numbers") == 200_000
    policy = gateway.folder / "policy.yaml"
    policy.write_text("version: 1\nrules: [")
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: "not taken" in gateway.log(), "it looks at the text")
    assert gateway.ask("SELECT a FROM numbers") == 200_000
    ready = requests.get(f"{gateway.control}/readyz", timeout=WAIT_S)
    assert (ready.status_code, ready.json()["checks"]["policy-file"]) == (200, "policy-invalid")
    assert (
        'nbgov_ready{check="policy-file"} 0.0'
        in requests.get(f"{gateway.control}/metrics", timeout=WAIT_S).text
    )
    policy.write_text(POLICY.replace("[analysts]", "[nobody]"))
    with pytest.raises((fl.FlightError, pa.ArrowException)):
        gateway.ask("SELECT a FROM numbers")
    until(
        lambda: (
            requests.get(f"{gateway.control}/readyz", timeout=WAIT_S).json()["checks"][
                "policy-file"
            ]
            == "ok"
        ),
        "the good text is in force",
    )
    assert gateway.end() == 0


class Texts:
    """A source whose text, or error, is set."""

    def __init__(self, text):
        self.now = text

    def text(self):
        if isinstance(self.now, Exception):
            raise self.now
        return self.now

    def revision(self):
        return "r"


def test_a_policy_that_vanished_and_came_back_is_no_problem():
    """A file that cannot be read leaves the policy in force, and is forgotten once it can."""
    source = Texts("version: 1\nrules: []\n")
    held = HeldPolicy(source)
    good, source.now = source.now, ConfigInvalid("gone", code="policy-missing")
    assert (held.text(), held.problem) == (good, "policy-missing")
    source.now = good
    assert (held.text(), held.problem) == (good, "")
    with pytest.raises(ConfigInvalid):
        HeldPolicy(Texts("rules: ["))


@pytest.mark.slow
def test_several_processes_listen_on_the_same_ports(served):
    """Connections spread over the processes, a signal ends all, and so does the end of one."""
    gateway = served("--processes", "2", data=free_port(), control=free_port())
    until(lambda: len(gateway.nodes()) == 2, "both tell of themselves")
    assert {len({node.policy}) for node in gateway.nodes()} == {1}
    for _ in range(20):
        assert gateway.ask("SELECT 1 AS a") == 1
    assert gateway.end() == 0
    assert gateway.nodes() == []


@pytest.mark.slow
@pytest.mark.parametrize("is_first", [False, True], ids=["part", "whole"])
def test_one_process_that_ends_ends_them_all(served, is_first):
    """A process that was killed is not missed in silence: the whole ends, with an error."""
    gateway = served("--processes", "2", data=free_port(), control=free_port())
    until(lambda: len(gateway.nodes()) == 2, "both tell of themselves")
    pids = [node.pid for node in gateway.nodes()]
    os.kill(gateway.process.pid if is_first else pids[0], signal.SIGKILL)
    assert gateway.process.wait(WAIT_S) != 0
    until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids), "all have ended")


@pytest.mark.parametrize(
    "words",
    [
        ("sessions", "revoke", "--principal", "ada", "--reason", "left"),
        ("stop", "connection", "warehouse", "--reason", "incident"),
        ("stop", "principal", "ada", "--reason", "incident"),
    ],
)
def test_what_an_administrator_ends_elsewhere_stops_here(served, words):
    """A login ended, or a stop made, by another process cancels what runs, and nothing begins."""
    gateway, errors = served(), []
    options = gateway.options()

    def run():
        try:
            gateway.ask(LONG, options)
        except (fl.FlightError, pa.ArrowException, KeyboardInterrupt) as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until(gateway.works, "the statement runs")
    assert nbgov(gateway.path, "gateway", *words).exit_code == 0
    thread.join(WAIT_S)
    assert errors
    until(lambda: not gateway.works(), "nothing runs")
    with pytest.raises((fl.FlightError, pa.ArrowException)):
        gateway.ask("SELECT 1 AS a", options)
    assert gateway.end() == 0


# ---------------------------------------------------------------- what it refuses to start with


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "gateway.test:1", "10.0.0.1:1"])
@pytest.mark.parametrize("plane", ["data", "control"])
def test_it_serves_no_network_in_clear(address, plane):
    """Without TLS, an address of the network is refused on either plane."""
    text = f"version: 1\npolicy: p\nconnections: {{a: {{kind: duckdb, path: x}}}}\ngateway: {{{plane}: '{address}'}}\n"
    with pytest.raises(ConfigInvalid, match="in clear"):
        require_private(parse(text).gateway)


def test_it_does_not_start_on_a_secret_that_is_open_to_others(tmp_path):
    """A secret's file that other accounts can read keeps the gateway from starting."""
    path = make_folder(tmp_path, config=CONFIG.format(data=0, control=0, issuers="{}"))
    with path.open("a") as file:
        file.write('pseudonym_key: "file:key"\n')
    (tmp_path / "key").write_text("k" * 40)
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(ConfigInvalid) as caught:
        start(path)
    assert caught.value.code == "secret-exposed"
    (tmp_path / "key").chmod(0o400)
    start(path).close(grace_s=0)


def test_a_file_without_a_gateway_serves_nothing(tmp_path):
    """Without gateway: in nbgov.yaml there is nothing to serve, to examine or to stop."""
    path = make_folder(
        tmp_path, config=CONFIG.partition("gateway:")[0].replace("{{", "{").replace("}}", "}")
    )
    # In a process of its own, as one that serves shuts itself to others for good.
    served = subprocess.run(
        [*COMMAND, "--config", str(path), "gateway", "serve"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert served.returncode == 1
    assert "says nothing of a gateway" in served.stderr
    for words in (("doctor",), ("stops",), ("sessions", "list")):
        found = nbgov(path, "gateway", *words)
        assert found.exit_code == 1
        assert "says nothing of a gateway" in found.output


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def papers():
    """A server's key, certificate and authority, and those of a client, whose own authority it is."""
    now = datetime.now(UTC)
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=client")
    client = (
        x509.CertificateBuilder(
            name, name, key.public_key(), 7, now - timedelta(hours=1), now + timedelta(days=1)
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    own = [draft.text for draft in certificate("127.0.0.1", now=now)]
    return own, [private, client, client]


@pytest.mark.parametrize("is_mutual", [False, True])
def test_both_planes_prove_themselves_and_may_ask_the_same(tmp_path, papers, is_mutual):
    """Who does not trust the certificate is not served; with client_ca neither is who has none."""
    (key, own, ca), (client_key, client, client_ca) = papers
    tls = Tls(own, key, client_ca if is_mutual else None)
    house = make_house(make_folder(tmp_path))
    data = start_data_plane(house, "127.0.0.1:0", tls=tls)
    control = start_control_plane(house, Nobody(), "127.0.0.1:0", tls=tls)
    files = {"ca": ca, "other": client_ca, "client": client + client_key}
    for name, text in files.items():
        (tmp_path / name).write_bytes(text)
    url = f"https://127.0.0.1:{control.port}/healthz"
    header = f"Bearer {token(house, 'ada', Audience.DATA)}".encode()
    options = fl.FlightCallOptions(headers=[(b"authorization", header)], timeout=20)

    def is_served(root, **more):
        with fl.connect(f"grpc+tls://127.0.0.1:{data.port}", tls_root_certs=root, **more) as link:
            try:
                return bool(
                    list(
                        link.do_action(
                            fl.Action("nbgov.v1.dialect", b'{"connection": "warehouse"}'), options
                        )
                    )
                )
            except (fl.FlightUnavailableError, fl.FlightTimedOutError):
                return False

    try:
        mine = {"cert_chain": client, "private_key": client_key}
        assert is_served(ca, **mine)
        assert is_served(ca) is not is_mutual
        assert not is_served(client_ca, **mine)
        pair = str(tmp_path / "client")
        assert requests.get(url, verify=str(tmp_path / "ca"), cert=pair, timeout=20).ok
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(url, verify=str(tmp_path / "other"), cert=pair, timeout=20)
        if is_mutual:
            with pytest.raises(requests.exceptions.ConnectionError):
                requests.get(url, verify=str(tmp_path / "ca"), timeout=20)
    finally:
        control.stop()
        data.stop()
        house.close()


class Nobody:
    """Believes no issuer."""

    def missing_keys(self):
        return ()


# ---------------------------------------------------------------- init


BARE = "version: 1\npolicy: policy.yaml\nconnections:\n  warehouse: {kind: duckdb, path: warehouse.duckdb}\n"


def test_init_prepares_a_gateway_that_starts(tmp_path):
    """What init writes is a valid file with a key of its owner's, and a gateway starts on it."""
    path = make_folder(tmp_path, config=BARE)
    found = nbgov(path, "gateway", "init", "--host", "127.0.0.1")
    assert found.exit_code == 0, found.output
    terms = parse(path.read_text()).gateway
    assert terms.tls is not None
    assert terms.control_url == "https://127.0.0.1:31338"
    assert (tmp_path / "gateway-key.pem").stat().st_mode & 0o777 == 0o600
    path.write_text(
        path.read_text()
        .replace("0.0.0.0:31337", "127.0.0.1:0")
        .replace("0.0.0.0:31338", "127.0.0.1:0")
    )
    serving = start(path)
    try:
        url = f"https://127.0.0.1:{serving.control.port}/readyz"
        assert requests.get(url, verify=str(tmp_path / "gateway-ca.pem"), timeout=20).json()[
            "is_ready"
        ]
    finally:
        serving.close(grace_s=0)


def test_init_writes_nothing_over(tmp_path):
    """A second init changes no file without --force, and nbgov.yaml not even with it."""
    path = make_folder(tmp_path, config=BARE)
    assert nbgov(path, "gateway", "init", "--host", "gateway.test").exit_code == 0
    before = {one: one.read_bytes() for one in tmp_path.iterdir() if one.is_file()}
    found = nbgov(path, "gateway", "init", "--host", "gateway.test")
    assert (found.exit_code, "file-exists" in found.output) == (1, True)
    assert before == {one: one.read_bytes() for one in tmp_path.iterdir() if one.is_file()}
    assert nbgov(path, "gateway", "init", "--host", "gateway.test", "--force").exit_code == 0
    assert path.read_bytes() == before[path]
    assert (tmp_path / "gateway.pem").read_bytes() != before[tmp_path / "gateway.pem"]


def test_the_unit_shuts_the_gateway_in(tmp_path):
    """The systemd unit runs an account of its own that can dump no core and write its state only."""
    path = make_folder(tmp_path, config=BARE)
    assert nbgov(path, "gateway", "init").exit_code == 0
    unit = tmp_path / "nbgov-gateway.service"
    lines = set(unit.read_text().splitlines())
    assert {"User=nbgov", "LimitCORE=0", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=strict",
            f"ReadWritePaths={tmp_path / '.nbgov'}", "ExecReload=/bin/kill -HUP $MAINPID"} <= lines  # fmt: skip
    if shutil.which("systemd-analyze"):
        found = subprocess.run(
            ["systemd-analyze", "verify", str(unit)], check=False, capture_output=True, text=True
        )
        assert not [
            line for line in found.stderr.splitlines() if unit.name in line and "Unknown" in line
        ]


def test_the_manifest_shuts_the_gateway_in(tmp_path):
    """The Kubernetes manifest gives an own account, a read-only root, and no capability or token."""
    path = make_folder(tmp_path, config=BARE)
    assert nbgov(path, "gateway", "init", "--host", "gateway.test").exit_code == 0
    parts = {
        one["kind"]: one
        for one in yaml.safe_load_all((tmp_path / "nbgov-gateway.kubernetes.yaml").read_text())
    }
    assert set(parts) == {"PersistentVolumeClaim", "Service", "Deployment"}
    pod = parts["Deployment"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert container["readinessProbe"]["httpGet"] == {
        "path": "/readyz",
        "port": "control",
        "scheme": "HTTPS",
    }
    assert pod["volumes"][1]["secret"]["defaultMode"] == 0o440
    words = [*container["command"], "sh", "-c", "ulimit -c"]
    assert subprocess.run(words, check=False, capture_output=True, text=True).stdout == "0\n"


# ---------------------------------------------------------------- doctor


@pytest.fixture
def issuer():
    made = Issuer()
    yield made
    made.close()


def seen(path):
    return {one.subject: one for one in examine(path)}


def test_doctor_looks_at_everything(tmp_path, issuer):
    """A sound set-up shows no finding but those of the machine that the test runs on."""
    terms = f'{{acme: {{kind: oidc, issuer: "{issuer.url}", audience: {AUDIENCE}}}}}'
    path = make_folder(tmp_path, config=CONFIG.format(data=0, control=0, issuers=terms))
    (tmp_path / "warehouse.duckdb").chmod(0o600)
    found = seen(path)
    assert {
        "address",
        "account",
        "neighbours",
        "nbgov.yaml",
        "policy.yaml",
        "acme",
        "audit log",
        "nodes",
    } <= set(found)
    bad = {name for name, one in found.items() if one.state == "fail"}
    assert bad <= {"account", "neighbours"}
    assert (found["account"].state == "fail") is (os.geteuid() == 0)
    printed = nbgov(path, "gateway", "doctor", "--json")
    assert {one["subject"] for one in json.loads(printed.output)} >= {"acme", "nodes"}
    assert printed.exit_code == int(bool(bad))


def test_doctor_finds_what_is_wrong(tmp_path, issuer, papers):
    """Each thing that is set up wrongly is a finding of its own, and none hides another."""
    terms = (
        f'{{acme: {{kind: oidc, issuer: "{issuer.url}", audience: {AUDIENCE}}}}}\n'
        "  tls: {certificate: own.pem, key: 'file:key.pem'}"
    )
    path = make_folder(tmp_path, config=CONFIG.format(data=0, control=0, issuers=terms))
    (tmp_path / "own.pem").write_bytes(papers[0][1])
    (tmp_path / "key.pem").write_bytes(papers[1][0])
    for name, mode in (("key.pem", 0o644), ("policy.yaml", 0o666), ("warehouse.duckdb", 0o644)):
        (tmp_path / name).chmod(mode)
    issuer.is_up = False
    house = open_house(path)
    now = datetime.now(UTC)
    house.store.tell(Node("other", "host", 7, "0" * 64, now))
    house.store.tell(Node("early", "host", 8, house.node().policy, now + timedelta(hours=1)))
    house.close()
    found = seen(path)
    wrong = {"tls", "file:key.pem", "policy.yaml", "warehouse.duckdb", "acme", "host:7", "host:8"}
    assert {name: found[name].state for name in wrong} == dict.fromkeys(wrong, "fail")
    assert nbgov(path, "gateway", "doctor").exit_code == 1


def test_doctor_tells_when_a_certificate_ends():
    """A certificate that is over is a finding, and one that ends soon a remark."""
    now = datetime.now(UTC)
    found = x509.load_pem_x509_certificate(certificate("a.test", now=now)[1].text)
    states = [good_for(found, now + timedelta(days=days)).state for days in (-1, 0, 340, 366)]
    assert states == ["fail", "ok", "warn", "fail"]
