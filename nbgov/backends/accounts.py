"""Who asks, in embedded mode: the OS account, mapped to a declared principal.

This identity is advisory. The process that asks is the process that checks, so that whoever runs it
can claim any declared name; every record of this mode says so. The gateway takes identity from
OIDC.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping

from nbgov.config import Config
from nbgov.errors import IdentityFailed
from nbgov.model import Principal

# How a principal was found out, as records name it.
OS_ACCOUNT = "os-account"
CLAIM = "claim"


class AccountIdentity:
    """Maps OS accounts and claims to declared principals.

    Args:
        declared: Declared principals by name, their ``account`` left empty.
        accounts: OS account to principal name.
        account: The account of this process; found out when left out.
    """

    def __init__(
        self,
        declared: Mapping[str, Principal],
        accounts: Mapping[str, str],
        *,
        account: str | None = None,
    ) -> None:
        self.declared = declared
        self.accounts = accounts
        self.account = own_account() if account is None else account

    def identify(self, claim: str | None) -> Principal:
        """The principal behind a claim, or behind the OS account without one.

        Raises:
            IdentityFailed: The claim, or the account, is not declared.
        """
        name = self.accounts.get(self.account) if claim is None else claim
        if name is None:
            raise IdentityFailed(
                f"The OS account {self.account!r} is no declared principal.",
                why="no entry under principals: in nbgov.yaml lists it in accounts",
                next_step=f"add accounts: [{self.account}] to a principal, or name one with --as",
            )
        found = self.declared.get(name)
        if found is None:
            raise IdentityFailed(
                f"{name!r} is no declared principal.",
                why="principals: in nbgov.yaml does not list it",
                next_step="declare it there, or use one of: " + ", ".join(sorted(self.declared)),
            )
        via = OS_ACCOUNT if claim is None else CLAIM
        return Principal(found.name, found.groups, found.roles, self.account, via)


def declared_identity(config: Config) -> AccountIdentity:
    """The declared principals; where nothing is decided here, the OS account is one, too."""
    entries = config.principals
    declared = {
        name: Principal(name, frozenset(entry.groups), frozenset(entry.roles))
        for name, entry in entries.items()
    }
    accounts = {account: name for name, entry in entries.items() for account in entry.accounts}
    if config.is_remote and not entries:
        account = own_account()
        declared, accounts = {account: Principal(account)}, {account: account}
    return AccountIdentity(declared, accounts)


def own_account() -> str:
    """The OS account of this process, by user id rather than by an environment variable."""
    try:
        import pwd
    except ImportError:  # not a POSIX system
        return getpass.getuser()
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
