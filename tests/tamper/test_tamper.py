"""Each attack is found by something, and the one window is where the specification says it is."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from nbgov.backends.files import FileEvidence
from nbgov.core.audit.merkle import consistency_path
from nbgov.core.audit.note import Note
from nbgov.errors import IntegrityFailed
from nbgov.evidence.examining import Trust, Verification
from nbgov.evidence.verification import verify
from tests.tamper.attacks import ATTACKS, IN_WINDOW, fork
from tests.tamper.scene import ORIGIN, SIGNED, SIZE, WITNESSED, Loot, Scene, build, nodes_of, signed

SPEC = Path(__file__).parents[2] / "docs" / "spec" / "audit-log.md"
MEANS = ("chain", "signed checkpoint", "witness", "receipts")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return build(tmp_path_factory.mktemp("scene"))


@pytest.fixture
def loot(scene, tmp_path):
    return steal(scene, tmp_path / "state")


def steal(scene: Scene, state: Path) -> Loot:
    shutil.copytree(scene.state, state)
    return Loot(state, scene)


def seen(loot: Loot, trust: Trust) -> Verification:
    return verify(FileEvidence(loot.state), trust)


def finders(loot: Loot) -> dict[str, bool]:
    """Which means finds out that the log is not what it was, each by itself."""
    scene = loot.scene
    chain = seen(loot, Trust()).report.is_intact
    key = seen(loot, Trust(key=scene.key)).is_sound
    witness = seen(loot, Trust(witnesses=[scene.witness.key], notes=[scene.kept, *loot.shown]))
    receipts = seen(loot, Trust(receipts=scene.receipts))
    return {
        "chain": not chain,
        "signed checkpoint": not key,
        "witness": any(one.name == "witnesses" or "kept" in one.name for one in failing(witness)),
        "receipts": any(one.name == "receipts" for one in failing(receipts)),
    }


def failing(found: Verification):
    return [one for one in found.checks if one.outcome == "fails"]


def whole_trust(scene: Scene, *, shown: Sequence[Note] = ()) -> Trust:
    """Everything that an auditor can have."""
    return Trust(
        key=scene.key,
        witnesses=[scene.witness.key],
        receipts=scene.receipts,
        notes=[scene.kept, *shown],
    )


# ---- nobody did anything


def test_a_log_that_nobody_touched_holds(loot):
    """Everything that an auditor can look at holds, and two keys are followed."""
    found = seen(loot, whole_trust(loot.scene))
    assert found.is_sound, found.problems
    assert not any(finders(loot).values())
    assert (found.report.entries, len(found.keys)) == (SIZE, 2)
    assert found.checkpoint.size == SIGNED
    assert found.witnessed.size == WITNESSED
    assert found.window == SIZE - loot.scene.receipts[-1].index - 1


def test_every_means_is_told_of(loot):
    """Without key, witness or receipts the verification holds, and says what nobody looked at."""
    found = seen(loot, Trust())
    unchecked = {one.name for one in found.checks if one.outcome == "unchecked"}
    assert found.is_sound
    assert unchecked >= {"checkpoint", "witnesses", "window"}
    assert found.window == SIZE


# ---- the attacks


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_found(loot, name):
    """Whoever touches what a witness has seen is found out by the witness, whatever else he has."""
    ATTACKS[name](loot)
    found = seen(loot, whole_trust(loot.scene, shown=loot.shown))
    assert not found.is_sound
    assert any(finders(loot).values())


@pytest.mark.parametrize("name", IN_WINDOW)
def test_the_window_is_closed_by_receipts(loot, name):
    """Behind the last witnessed checkpoint, an attacker with the key is found by receipts only."""
    IN_WINDOW[name](loot)
    found = finders(loot)
    assert found == dict.fromkeys(MEANS, False) | {"receipts": True}
    trust = whole_trust(loot.scene)
    blind = seen(loot, Trust(key=trust.key, witnesses=trust.witnesses, notes=trust.notes))
    # Without receipts nobody finds it, and the verification says over how many entries that holds.
    assert blind.is_sound, blind.problems
    assert blind.window == blind.report.entries - WITNESSED > 0
    [window] = [one for one in blind.checks if one.name == "window"]
    assert window.outcome == "unchecked"


# ---- what the witness itself says


def test_a_witness_cosigns_one_of_two_views(loot, tmp_path):
    """Of two logs of one size, both signed by the log, the witness takes the first one it sees."""
    scene = build(tmp_path / "scene")
    honest = steal(scene, tmp_path / "honest")
    forked = steal(scene, tmp_path / "forked")
    fork(forked)
    assert [ask(one, SIGNED) for one in (honest, forked)] == ["cosigned", "witness-refused"]
    # Either of the two notes convicts the log of the other, wherever it turns up.
    note = signed(honest.lines[:SIGNED], honest.signer)
    assert not verify(FileEvidence(forked.state), Trust(key=scene.key, notes=[note])).is_sound
    assert not verify(FileEvidence(honest.state), Trust(notes=scene.witness.refused)).is_sound


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("rewritten, stolen key", "witness-refused"),
        ("log begun anew, stolen key", WITNESSED),
        ("old copy restored", WITNESSED),
        ("log and checkpoints cut", WITNESSED),
    ],
)
def test_a_witness_does_not_cosign_what_it_has_not_seen(tmp_path, name, answer):
    """A log that was rewritten is refused, and a shorter one told of the size that was seen."""
    scene = build(tmp_path / "scene")
    loot = steal(scene, tmp_path / "state")
    ATTACKS[name](loot)
    assert ask(loot, min(SIGNED, len(loot.lines))) == answer


def ask(loot: Loot, size: int) -> str | int:
    """What the witness says to the first entries of a log: why it refuses, or what it knows."""
    lines, witness = loot.lines, loot.scene.witness
    old = min(witness.heads[ORIGIN].size, size)
    path = consistency_path(old, size, nodes_of(lines))
    try:
        answer = witness.cosign(signed(lines[:size], loot.signer), old_size=old, path=path)
    except IntegrityFailed as error:
        return error.code
    return answer if isinstance(answer, int) else "cosigned"


# ---- the table


def matrix(scene: Scene, folder: Path) -> str:
    """Who finds what, as the specification shows it."""
    rows = [
        "| attack | " + " | ".join(MEANS) + " |",
        "|---|" + "---|" * len(MEANS),
    ]
    for number, (name, attack) in enumerate({**ATTACKS, **IN_WINDOW}.items()):
        loot = steal(scene, folder / str(number))
        attack(loot)
        found = finders(loot)
        cells = ["found" if found[means] else "missed" for means in MEANS]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def test_the_table_of_the_specification_is_what_happens(scene, tmp_path, capsys):
    """The specification says of each attack who finds it, and that is how it is."""
    table = matrix(scene, tmp_path)
    with capsys.disabled():
        print(f"\n{table}")  # noqa: T201 - the table is what make test-tamper is run for
    assert table in SPEC.read_text(encoding="utf-8")


def test_kept_notes_are_what_the_witness_gave(scene):
    """The auditor's copy is the note that the witness cosigned, and no later one."""
    assert isinstance(scene.kept, Note)
    assert scene.kept.checkpoint == scene.witness.heads[ORIGIN]
    assert scene.kept.signed_by(scene.witness.key) is not None
