"""Messages by mail, handed to one server over SMTP."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from typing import TYPE_CHECKING, Literal

from nbgov.errors import NbgovError
from nbgov.model import Answer

if TYPE_CHECKING:
    from smtplib import SMTP

    from nbgov.model import Parcel

TIMEOUT_S = 10.0
PASSING = 400
FINAL = 500


@dataclass(frozen=True, slots=True)
class Server:
    """A mail server: where it is, how the way there is protected, and who logs in, if anybody."""

    host: str
    port: int
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""


class MailCourier:
    """A :class:`~nbgov.ports.Courier` that hands each message to a mail server.

    Args:
        server: The server.
        sender: Address of the sender.
        to: Addresses of those who get it.
        password: Gives the password of the server's user, at each try.
        timeout_s: How long to wait for each word of the server.
        trust: What says which certificates count; those that the machine trusts by default.
    """

    def __init__(
        self,
        server: Server,
        *,
        sender: str,
        to: Sequence[str],
        password: Callable[[], str] | None = None,
        timeout_s: float = TIMEOUT_S,
        trust: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self.server = server
        self.sender = sender
        self.to = tuple(to)
        self.password = password
        self.timeout_s = timeout_s
        self.trust = trust

    def deliver(self, parcel: Parcel, *, at: datetime) -> Answer:
        """Hand a message over once."""
        from smtplib import SMTPException, SMTPRecipientsRefused, SMTPResponseException

        try:
            with self.connect() as link:
                self.enter(link)
                refused = link.send_message(self.letter(parcel, at))
        except NbgovError as error:
            return Answer("later", error.code)
        except SMTPRecipientsRefused as error:
            return answer(max(code for code, _ in error.recipients.values()))
        except SMTPResponseException as error:
            return answer(error.smtp_code)
        except (OSError, SMTPException, ValueError) as error:
            # Security: the text of an error is the server's; the name of its kind is not.
            return Answer("later", type(error).__name__)
        if refused:
            return Answer("never", f"{len(refused)} of {len(self.to)} addresses were refused")
        return Answer("arrived", "250 taken by the server")

    def connect(self) -> SMTP:
        """A connection to the server."""
        from smtplib import SMTP, SMTP_SSL

        host, port = self.server.host, self.server.port
        if self.server.tls == "tls":
            return SMTP_SSL(host, port, timeout=self.timeout_s, context=self.trust())
        return SMTP(host, port, timeout=self.timeout_s)

    def enter(self, link: SMTP) -> None:
        """Protect the connection, and log in."""
        if self.server.tls == "starttls":
            # Security: raises where the server offers none, so that nothing goes on in clear.
            link.starttls(context=self.trust())
        if self.server.user and self.password is not None:
            link.login(self.server.user, self.password())

    def letter(self, parcel: Parcel, at: datetime) -> EmailMessage:
        """The mail itself, under the same name at every try."""
        body = json.loads(parcel.body)
        made = EmailMessage()
        made["Subject"] = body["subject"]
        made["From"] = self.sender
        made["To"] = ", ".join(self.to)
        made["Date"] = at
        made["Message-ID"] = f"<{parcel.id}@{self.sender.rpartition('@')[2]}>"
        # No holiday reply comes back to a machine.
        made["Auto-Submitted"] = "auto-generated"
        made.set_content(body["text"])
        made.add_alternative(body["html"], subtype="html")
        return made


def answer(code: int) -> Answer:
    """What a status of SMTP means for a message."""
    return Answer("later" if PASSING <= code < FINAL else "never", f"status {code} of the server")
