"""Every error that nbgov raises on purpose: what happened, why, and what to do next.

The tree is small and the codes are many, because code catches types and people look up codes::

    NbgovError
    ├── RequestInvalid    the request itself cannot be understood (syntax, binds, names)
    ├── IdentityFailed    nobody could be made out as the principal
    ├── Denied            policy, guard or a voter said no
    ├── ApprovalNeeded    a person has to consent first; carries the ticket
    ├── BackendFailed     a product (database, disk, detector, MLflow) did not do its part
    ├── IntegrityFailed   evidence does not add up (audit log, rewrite verification)
    └── ConfigInvalid     nbgov.yaml or policy.yaml is missing or wrong

``str(error)`` is deterministic: the record number is shown by :meth:`NbgovError.render` only, so
that notebooks compare equal from run to run. No message ever holds a data value, a secret or full
SQL. Each code has a heading in ``docs/reference/errors.md``.
"""

from __future__ import annotations

from typing import ClassVar

CODES: dict[str, str] = {
    # RequestInvalid
    "syntax": "The SQL text could not be parsed.",
    "statement-too-large": "The SQL text is longer, or nested deeper, than nbgov reads.",
    "not-one-statement": "A request holds exactly one SQL statement.",
    "unknown-table": "A table is absent from the connection, or hidden from the principal.",
    "unknown-column": "A column is absent from the tables that the statement reads.",
    "unknown-connection": "The connection is not named in nbgov.yaml.",
    "unknown-model": "The model version is not in the run store.",
    "unknown-run": "The run is not in the run store.",
    "unknown-ticket": "The approval ticket is not in the store.",
    "unknown-login": "No login at the gateway that the caller may end has this id.",
    "form-invalid": "A form of the gateway's pages comes from elsewhere.",
    "page-unknown": "The gateway has nothing at this address.",
    "method-unknown": "The gateway does not do that at this address.",
    "body-too-large": "The body of a request to the gateway is too large.",
    "unknown-dataset": "A reference means no dataset version, or more than one.",
    "undo-unknown": "Nothing is kept of a write that it could be undone with.",
    "unknown-record": "The audit log has no entry of this number.",
    "unknown-reference": "Nothing that can be compared has this name.",
    "no-baseline": "There is nothing earlier to compare with.",
    "not-replayable": "A training cannot be done again, as its inputs are not at hand.",
    "ticket-invalid": "A ticket of the data plane cannot be used, or not any more.",
    "not-supported": "A gateway does not offer something that Flight SQL has.",
    "receipt-invalid": "A text is no receipt of an audit entry.",
    "bind-missing": "A :name in the SQL has no value.",
    "bind-type": "A bound value has a type that cannot be sent to a database.",
    "file-unreadable": "A file could not be read to its end as what it is said to be.",
    "file-exists": "A file is there already where a copy would go.",
    "names-tell": "The names of columns or fields hold what would be masked in values.",
    "usage": "The command or magic was called with arguments it does not take.",
    # IdentityFailed
    "not-logged-in": "Nobody is logged in at a gateway.",
    "login-failed": "A login at an issuer did not succeed.",
    "groups-overage": "A token does not hold all groups of its owner.",
    "issuer-unavailable": "An issuer cannot be asked for its keys.",
    "proof-audience": "A proof of identity is for somebody else than the gateway.",
    "proof-expired": "The time of a proof of identity is over.",
    "token-algorithm": "A token is signed in a way that is not believed.",
    "token-client": "A client got a token whose tokens are not taken.",
    "token-critical": "A token asks for an extension that is not known.",
    "token-early": "The time of a token has not come yet.",
    "token-incomplete": "A token does not say what it has to say.",
    "token-issuer": "A token is of an issuer that is not believed.",
    "token-key": "A token names no key that its issuer publishes.",
    "token-malformed": "A text is no signed token.",
    "token-signature": "The signature of a token does not verify.",
    "token-type": "A token is of another kind.",
    "name-taken": "A name of the gateway belongs to another identity.",
    "token-missing": "A request to a gateway carries no token.",
    "token-unknown": "A token is none that the gateway has issued.",
    "token-audience": "A token is for the other plane of the gateway.",
    "token-expired": "A token of the gateway is over.",
    "token-revoked": "A login at the gateway was ended.",
    "unknown-principal": "The name is not declared under principals: in nbgov.yaml.",
    # Denied
    "admin-needed": "Only an administrator of the gateway may do this.",
    "auditor-needed": "Only an auditor of the gateway may do this.",
    "connection-stopped": "An administrator has stopped the connection.",
    "principal-stopped": "An administrator has stopped the principal.",
    "role-missing": "The principal has no role in the database.",
    "denied-by-policy": "No rule permits the statement, or a rule forbids it.",
    "denied-by-guard": "The guard stops the statement, whoever asks.",
    "not-understood": "nbgov does not fully understand the statement, so it does not run.",
    "masked-column-in-write": "A write would read a column that is masked for the principal.",
    "masked-column-raises": "Values of a masked column would decide whether the statement fails.",
    "plan-shows-values": "A plan of a statement that reads protected data would tell about it.",
    "laundering": "A write would copy sensitive columns to where their tags do not reach.",
    "mask-token-written": "A write holds what a mask shows instead of a stored value.",
    "approval-denied": "A voter denied the ticket.",
    "self-approval": "A principal cannot vote on their own ticket.",
    "emergency-not-permitted": "The principal may not break the glass, or not before a review.",
    "vote-not-permitted": "The principal may not vote on this ticket.",
    "unseal-not-permitted": "The policy does not let the principal see sealed literals.",
    "promotion-held": "A model version may not be promoted, or nobody could consent to it.",
    "too-many-bytes": "The result is larger than the policy permits.",
    "too-many-rows-changed": "A write changed more rows than the policy permits, and was undone.",
    # ApprovalNeeded
    "approval-needed": "The statement waits for a person's consent.",
    # BackendFailed
    "login-unavailable": "A gateway or an issuer does not answer as a login needs it.",
    "gateway-unavailable": "A gateway could not be reached.",
    "gateway-cut": "The answer of a gateway is not whole.",
    "gateway-draining": "The gateway is about to end and takes nothing new.",
    "gateway-failed": "Something went wrong inside a gateway.",
    "gateway-busy": "Too many results are open at the gateway.",
    "database-unavailable": "The database could not be reached or opened.",
    "database-error": "The database refused or aborted the statement.",
    "cancelled": "The statement was cancelled before it ended.",
    "witness-unavailable": "A witness of the audit log did not answer.",
    "address-unavailable": "A server cannot listen where it should.",
    "audit-unavailable": "The audit log could not be written, so nothing ran.",
    "notice-undelivered": "A message about a ticket did not arrive.",
    "dry-run-unavailable": "The database cannot promise to roll the statement back.",
    "undo-unavailable": "What a write changed could not be kept, so it was rolled back.",
    "state-unavailable": "A file or store under the state folder could not be read or written.",
    "seal-erased": "The key of what an audit entry keeps sealed was destroyed.",
    "detector-failed": "The PII detector failed, so nothing was released.",
    "detector-model-missing": "The language model of the PII detector is not installed.",
    "driver-missing": "The driver for this kind of connection is not installed.",
    "pseudonym-key-unsafe": "The database would write the key of the pseudonyms to a log.",
    "file-unwritable": "A file could not be written.",
    "run-store-failed": "The run store (MLflow) did not answer.",
    "replay-failed": "The training function that was given for a replay raised an error.",
    "rows-not-kept": "The delivered rows of a dataset version could not be kept.",
    # IntegrityFailed
    "rewrite-unverified": "The second parser disagrees with the rewritten statement.",
    "masked-column-in-result": "The server says that a masked column would arrive as it is stored.",
    "audit-broken": "The audit log does not verify.",
    "index-damaged": "The audit log and its search index do not fit.",
    "seal-broken": "What an audit entry keeps sealed is not what was sealed for it.",
    "bundle-invalid": "A file is no bundle of an audit log, or was changed.",
    "checkpoint-invalid": "A signed checkpoint does not verify.",
    "key-invalid": "A text is no verifier key.",
    "proof-invalid": "A proof does not show that an entry is in the log.",
    "witness-refused": "A witness says that the log is not the one it saw before.",
    "rows-damaged": "Kept rows are not the ones that were delivered.",
    "digests-disagree": "Fingerprints are damaged, or not those of one dataset and its parts.",
    "lineage-invalid": "A lineage record does not decode.",
    "custody-broken": "A file is no custody bundle, or was changed.",
    "ticket-conflict": "The approval ticket changed, expired or was used meanwhile.",
    "ticket-forged": "A step of an approval ticket is none that a ticket can take.",
    "undo-broken": "What was kept of a write is not what was sealed for it.",
    # ConfigInvalid
    "config-missing": "No nbgov.yaml was found.",
    "config-invalid": "nbgov.yaml does not decode.",
    "policy-missing": "The policy file that nbgov.yaml names is absent.",
    "policy-invalid": "policy.yaml does not decode.",
    "catalog-invalid": "A catalog file does not decode.",
    "secret-missing": "A secret reference points at nothing.",
    "secret-exposed": "The file of a secret can be reached by other accounts.",
    "analyzer-invalid": "The Presidio analyzer that nbgov.yaml names cannot be made.",
    "key-missing": "An operator needs a key, and none was given.",
    "key-short": "A key of masks is shorter than 32 bytes.",
    "preset-unknown": "There is no preset of this name.",
    "operator-invalid": "There is no such operator of a mask, or it takes no such argument.",
    "mask-unfit": "The operator of a mask does not fit the type of a column.",
    "mask-domain-small": "A type has too few values to be encrypted within it.",
}


class NbgovError(Exception):
    """Base of every error raised on purpose.

    Args:
        what: What happened, one sentence.
        code: A key of :data:`CODES`.
        why: The reason, one sentence, or empty.
        next_step: What the person can do now, one sentence, or empty.

    Attributes:
        record: Number of the audit record of this request, or ``None`` when nothing was recorded.
        receipt: Text form of the audit receipt, or ``None``.
    """

    default_code: ClassVar[str]

    def __init__(self, what: str, *, code: str = "", why: str = "", next_step: str = "") -> None:
        self.what = what
        self.code = code or self.default_code
        self.why = why
        self.next_step = next_step
        self.record: int | None = None
        self.receipt: str | None = None
        super().__init__(what)

    def __str__(self) -> str:
        """What, why, next and code, without the record number: equal from run to run."""
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """The error as at most four lines: what, why, next, code."""
        rows = [self.what]
        if self.why:
            rows.append(f"  why     {self.why}")
        if self.next_step:
            rows.append(f"  next    {self.next_step}")
        rows.append(f"  code    {self.code}")
        return rows

    def render(self) -> str:
        """The error as a person sees it, at most six lines, with record number and receipt.

        A notebook keeps no metadata with an error, so the receipt stands here in full.
        """
        rows = self.lines()
        if self.record is not None:
            rows[-1] += f"        record  {self.record}"
        if self.receipt is not None:
            rows.append(f"  receipt {self.receipt}")
        return "\n".join(rows)

    def _render_traceback_(self) -> list[str]:
        """Let IPython show the error itself instead of a stack of nbgov's own frames."""
        return self.render().splitlines()


class RequestInvalid(NbgovError):
    """The request cannot be understood."""

    default_code = "syntax"


class IdentityFailed(NbgovError):
    """Nobody could be made out as the principal."""

    default_code = "unknown-principal"


class Denied(NbgovError):
    """Policy, guard or a voter said no."""

    default_code = "denied-by-policy"


class ApprovalNeeded(NbgovError):
    """A person has to consent first.

    Attributes:
        ticket: Identifier of the open ticket.
    """

    default_code = "approval-needed"

    def __init__(self, what: str, *, ticket: str, why: str = "", next_step: str = "") -> None:
        super().__init__(what, why=why, next_step=next_step)
        self.ticket = ticket

    def _render_traceback_(self) -> list[str]:
        """One line in a notebook: nothing failed, and the card above it tells the rest."""
        step = f" Next: {self.next_step}." if self.next_step else ""
        return [f"{self.what} Ticket {self.ticket}.{step}"]


class BackendFailed(NbgovError):
    """A product did not do its part.

    Attributes:
        sqlstate: The database's own number of the error, as far as the requester may know it, or
            empty.
    """

    default_code = "database-error"
    sqlstate: str = ""


class IntegrityFailed(NbgovError):
    """Evidence does not add up."""

    default_code = "audit-broken"


class ConfigInvalid(NbgovError):
    """A configuration or policy file is missing or wrong."""

    default_code = "config-invalid"
