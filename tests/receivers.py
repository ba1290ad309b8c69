"""Servers on this machine that take what is sent to people: over HTTP and by mail."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Inbox(ThreadingHTTPServer):
    """An HTTP server that keeps what it is sent.

    Attributes:
        answers: Status and headers of the next answers; 200 when there are none left.
        taken: Path, headers and body of each request.
        gate: Requests wait for it.
    """

    daemon_threads = True

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), Handler)
        self.answers, self.taken = [], []
        self.gate = threading.Event()
        self.gate.set()
        self.came = threading.Semaphore(0)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/hook"

    def wait(self, count=1):
        """Wait until so many more requests were answered."""
        for _ in range(count):
            assert self.came.acquire(timeout=60)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.taken.append((self.path, dict(self.headers), body))
        self.server.came.release()
        self.server.gate.wait(60)
        status, headers = self.server.answers.pop(0) if self.server.answers else (200, {})
        self.send_response(status, "words of the server")
        for name, value in headers.items():
            self.send_header(name, value)
        with suppress(ConnectionError):
            self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(b"a body that nobody reads")

    def log_message(self, *_):
        pass


@contextmanager
def listening(port=0):
    """A server for what webhooks send."""
    with Inbox(port) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join()


class Mailbox:
    """Keeps mails.

    Attributes:
        answers: Statuses of the next mails; taken when there are none left.
        mails: The bytes of each mail, with sender and addresses.
        refused: Addresses that do not exist.
    """

    def __init__(self):
        self.answers, self.mails, self.refused, self.users = [], [], set(), []

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if address in self.refused:
            return "550 no such address"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        if self.answers:
            return f"{self.answers.pop(0)} words of the server"
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return "250 OK"

    def authenticate(self, server, session, envelope, mechanism, data):
        self.users.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"opensesame", handled=False)


class MailServer(Controller):
    def _trigger_server(self):
        # It asks its own port, which is known by now.
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def mail_server(mailbox, *, tls="none", trust=None):
    """A mail server; with ``starttls`` or ``tls`` it has the certificate in ``trust``."""
    options = {}
    if tls == "starttls":
        options = {
            "tls_context": trust.server(),
            "require_starttls": True,
            "authenticator": mailbox.authenticate,
        }
    elif tls == "tls":
        options = {"ssl_context": trust.server(), "auth_require_tls": False}
        options |= {"authenticator": mailbox.authenticate}
    server = MailServer(mailbox, hostname="127.0.0.1", port=0, **options)
    server.start()
    yield server.port
    server.stop()


class Trust:
    """A certificate of this machine's own address that nobody else trusts."""

    def __init__(self, folder):
        self.path = folder / "server.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        now = datetime.datetime.now(tz=datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
            .sign(key, hashes.SHA256())
        )
        self.path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )

    def server(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path)
        return context

    def client(self):
        return ssl.create_default_context(cafile=self.path)
