"""What an attacker does, by name; each function takes a copy of a state folder and spoils it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

from nbgov.core.audit import encode
from nbgov.core.audit.entry import decode
from nbgov.core.audit.merkle import leaf_digest
from nbgov.core.audit.note import VerifierKey, cosign
from nbgov.model import Record, RecordKind
from tests.tamper.scene import (
    EARLY,
    ORIGIN,
    ROTATED,
    SIGNED,
    SIZE,
    WITNESSED,
    Loot,
    signed,
    thief,
)

HIT = 30  # The entry that somebody wants to be another one; a witness has cosigned it.
TAIL = 55  # One that nobody has signed yet.
FORGED = "eve@acme.test"


def edited(loot: Loot, index: int) -> list[Record]:
    """The records, one of them with another principal."""
    records = loot.records
    records[index] = replace(records[index], principal=FORGED)
    return records


def edit(loot: Loot) -> None:
    """One entry says another principal."""
    lines = loot.lines
    lines[HIT] = lines[HIT].replace(b"ada@acme.test", b"eve@acme.test")
    loot.write(lines)


def edit_and_chain(loot: Loot) -> None:
    """The same, and every later entry is chained anew."""
    loot.rewrite(edited(loot, HIT))


def delete(loot: Loot) -> None:
    """One entry is gone."""
    lines = loot.lines
    loot.write(lines[:HIT] + lines[HIT + 1 :])


def delete_and_chain(loot: Loot) -> None:
    """The same, chained anew."""
    records = loot.records
    loot.rewrite(records[: HIT + 1] + records[HIT + 2 :])


def insert(loot: Loot) -> None:
    """One entry more, that follows from the one before it."""
    lines, record = loot.lines, replace(loot.records[HIT], kind=RecordKind.VOTE)
    prev = leaf_digest(lines[HIT - 1])
    forged = encode(record, origin=ORIGIN, index=HIT, prev_digest=prev)
    loot.write([*lines[:HIT], forged, *lines[HIT:]])


def insert_and_chain(loot: Loot) -> None:
    """The same, chained anew."""
    records = loot.records
    loot.rewrite([*records[:HIT], replace(records[HIT], kind=RecordKind.VOTE), *records[HIT:]])


def reorder(loot: Loot) -> None:
    """Two entries change places."""
    lines = loot.lines
    lines[HIT], lines[HIT + 1] = lines[HIT + 1], lines[HIT]
    loot.write(lines)


def reorder_and_chain(loot: Loot) -> None:
    """The same, with each other's times, chained anew."""
    records = loot.records
    first, second = records[HIT], records[HIT + 1]
    records[HIT] = replace(second, at=first.at)
    records[HIT + 1] = replace(first, at=second.at)
    loot.rewrite(records)


def duplicate(loot: Loot) -> None:
    """One entry stands there twice."""
    lines = loot.lines
    loot.write([*lines[: HIT + 1], *lines[HIT:]])


def duplicate_and_chain(loot: Loot) -> None:
    """The same, chained anew."""
    records = loot.records
    loot.rewrite([*records[: HIT + 2], records[HIT + 1], *records[HIT + 2 :]])


def roll_back_clock(loot: Loot) -> None:
    """An entry at the end claims an earlier time than the one before it."""
    records = loot.records
    records.append(replace(records[-1], at=records[-1].at - timedelta(hours=1)))
    loot.rewrite(records)


def roll_back_clock_evenly(loot: Loot) -> None:
    """Every entry claims to be an hour older, chained anew."""
    loot.rewrite([replace(one, at=one.at - timedelta(hours=1)) for one in loot.records])


def cut_below_checkpoint(loot: Loot) -> None:
    """Entries at the end are gone, signed ones too."""
    loot.write(loot.lines[: SIGNED - 3])


def cut_log_and_checkpoints(loot: Loot) -> None:
    """Entries and checkpoints are gone, as if it were not so late."""
    loot.write(loot.lines[:EARLY])
    for name in ("checkpoint", "witnessed"):
        source = loot.scene.early / "audit" / name
        loot.keep(name, source.read_text(encoding="utf-8"))


def restore_old_copy(loot: Loot) -> None:
    """A whole state folder from an earlier day is put back."""
    shutil.rmtree(loot.state)
    shutil.copytree(loot.scene.early, loot.state)


def delete_everything(loot: Loot) -> None:
    """The whole log is gone."""
    shutil.rmtree(loot.state / "audit")
    (loot.state / "audit").mkdir()


def begin_anew(loot: Loot) -> None:
    """All but the oldest entries are made up, fewer than there were, and signed."""
    forged = [replace(one, principal=FORGED) for one in loot.records[ROTATED:EARLY]]
    loot.rewrite([*loot.records[:ROTATED], *forged])
    loot.sign(loot.signer)
    loot.keep("witnessed", "")


def swap_key(loot: Loot) -> None:
    """Everything is rewritten, and signed with another key under the log's name."""
    loot.rewrite(edited(loot, HIT))
    loot.sign(thief())
    loot.keep("witnessed", "")


def name_own_key(loot: Loot) -> None:
    """Everything is rewritten with a rotation to another key, that the log's key did not sign."""
    records = edited(loot, HIT)
    own = str(VerifierKey(ORIGIN, thief().public_key()))
    rotation = replace(records[ROTATED - 1], at=records[-1].at, note=own)
    loot.rewrite([*records, rotation])
    loot.keep(f"key-{SIZE + 1}", str(loot.sign(thief())))
    loot.keep("witnessed", "")


def steal_key(loot: Loot) -> None:
    """Everything is rewritten and signed with the log's own key."""
    loot.rewrite(edited(loot, HIT))
    loot.sign(loot.signer)
    loot.keep("witnessed", "")


def rename_log(loot: Loot) -> None:
    """Everything is rewritten under another log's name, and signed."""
    loot.rewrite(loot.records, origin="acme.test/other")
    loot.sign(loot.signer, origin="acme.test/other")
    loot.keep("witnessed", "")


def one_foreign_entry(loot: Loot) -> None:
    """The last entry is of another log."""
    lines = loot.lines
    record, prev = decode(lines[-1]).record, leaf_digest(lines[-2])
    foreign = encode(record, origin="acme.test/other", index=len(lines) - 1, prev_digest=prev)
    loot.write([*lines[:-1], foreign])


def fork(loot: Loot) -> None:
    """The log goes on in two ways from where the witness last saw it, which now sees the other."""
    witness, note = loot.scene.witness, signed(loot.lines[:SIGNED], loot.signer)
    line = cosign(note.text, witness.key, witness.private_key().sign, seconds=1767400000)
    loot.shown.append(note.with_signatures([line]))
    records = loot.records
    records[WITNESSED + 2] = replace(records[WITNESSED + 2], principal=FORGED)
    loot.rewrite(records)
    loot.sign(loot.signer, size=SIGNED)


def cut_tail(loot: Loot) -> None:
    """Entries that no checkpoint covers are gone."""
    loot.write(loot.lines[: SIGNED + 2])


def edit_tail(loot: Loot) -> None:
    """An entry that no checkpoint covers is another one, chained anew."""
    loot.rewrite(edited(loot, TAIL))


def cut_to_witnessed(loot: Loot) -> None:
    """Entries and the checkpoint are gone that no witness has seen."""
    loot.write(loot.lines[: WITNESSED + 1])
    loot.keep("checkpoint", loot.scene.kept.text + "\n" + f"{loot.scene.kept.signatures[0]}\n")


def edit_unwitnessed_with_stolen_key(loot: Loot) -> None:
    """An entry that no witness has seen is another one, chained anew and signed."""
    loot.rewrite(edited(loot, SIGNED - 3))
    loot.sign(loot.signer)


# By the name that the table in the documentation has for them.
ATTACKS: Mapping[str, Callable[[Loot], None]] = {
    "edit": edit,
    "edit, chained anew": edit_and_chain,
    "delete": delete,
    "delete, chained anew": delete_and_chain,
    "insert": insert,
    "insert, chained anew": insert_and_chain,
    "reorder": reorder,
    "reorder, chained anew": reorder_and_chain,
    "duplicate": duplicate,
    "duplicate, chained anew": duplicate_and_chain,
    "one entry's clock rolled back": roll_back_clock,
    "every clock rolled back, chained anew": roll_back_clock_evenly,
    "an entry of another log": one_foreign_entry,
    "cut below the last checkpoint": cut_below_checkpoint,
    "another key": swap_key,
    "rotation to another key": name_own_key,
    "another log's name": rename_log,
    "log and checkpoints cut": cut_log_and_checkpoints,
    "old copy restored": restore_old_copy,
    "everything deleted": delete_everything,
    "log begun anew, stolen key": begin_anew,
    "rewritten, stolen key": steal_key,
    "fork, two views of one size": fork,
}
# What happens behind the last witnessed checkpoint: the window, which only receipts close.
IN_WINDOW: Mapping[str, Callable[[Loot], None]] = {
    "unsigned tail cut": cut_tail,
    "unsigned tail edited, chained anew": edit_tail,
    "cut to the witnessed checkpoint": cut_to_witnessed,
    "unwitnessed entry edited, stolen key": edit_unwitnessed_with_stolen_key,
}
