"""The policy of a gateway: it changes without a restart, at once, or not at all.

The file is read again when it has changed. A text that does not decode changes nothing: what was
in force stays in force, and ``/readyz`` and the metrics say that the file is broken. That another
policy is in force is recorded with the first request under it.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from nbgov.core.policy import parse
from nbgov.errors import ConfigInvalid

if TYPE_CHECKING:
    from nbgov.ports import PolicySource

LOGGER = logging.getLogger("nbgov.gateway")


class HeldPolicy:
    """A :class:`~nbgov.ports.PolicySource` that gives texts that decode, and no others.

    Args:
        source: Where the text comes from.

    Attributes:
        problem: The code of what is wrong with the newest text, or empty.

    Raises:
        ConfigInvalid: The first text cannot be read, or does not decode: then nothing starts.
    """

    def __init__(self, source: PolicySource) -> None:
        self.source = source
        self.lock = threading.Lock()
        self.problem = ""
        self.held = source.text()
        self.offered: str | None = self.held
        self.told = source.revision()
        parse(self.held)

    def text(self) -> str:
        """The policy in force."""
        try:
            text = self.source.text()
        except ConfigInvalid as error:
            self.refuse(error)
            # Whatever can be read next is news.
            self.offered = None
            return self.held
        if text != self.offered:
            with self.lock:
                if text != self.offered:
                    self.take(text)
        return self.held

    def take(self, text: str) -> None:
        """Put a text in force, if it is a policy."""
        try:
            parse(text)
        except ConfigInvalid as error:
            self.refuse(error)
        else:
            self.held, self.told, self.problem = text, self.source.revision(), ""
            LOGGER.info("another policy is in force")
        self.offered = text

    def refuse(self, error: ConfigInvalid) -> None:
        """Go on under the policy that is in force."""
        if self.problem != error.code:
            LOGGER.error("the policy file is not taken: %s", error.lines())
        self.problem = error.code

    def revision(self) -> str:
        """The commit that the text in force is of, for people."""
        return self.told
