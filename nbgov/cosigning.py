"""Who brings the checkpoints of a log to its witnesses, and when.

No statement waits for a witness: a thread goes round. A witness that is away is told of where
somebody asks; one that refuses the log stops everything, here and in later sessions, until a
person has looked and a round went well again (``nbgov audit cosign``).
"""

from __future__ import annotations

import contextlib
import functools
import queue
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from nbgov.core.audit.merkle import consistency_path
from nbgov.core.audit.note import Note, SignatureLine, VerifierKey, is_signed
from nbgov.core.audit.witness import away, refused
from nbgov.errors import IntegrityFailed, NbgovError

if TYPE_CHECKING:
    from nbgov.ports import AuditLog, Evidence, Witness

# A witness names the size it knows, another session cosigns meanwhile, the next try is right.
TRIES_MAX = 5
ROUND_WAIT_S, CLOSE_WAIT_S, LAST_WAIT_S = 60.0, 3.0, 0.1
TIME_BYTES = 8
# A witness that never comes to the end of an answer must not get a thread more each round.
ASKED_AT_ONCE_MAX = 4

State = Literal["cosigned", "away", "refused"]


@dataclass(frozen=True, slots=True)
class Answered:
    """What one witness answered in a round.

    Attributes:
        witness: Its name.
        note: The checkpoint that it was last asked to cosign.
        error: Why it did not; ``None`` where it did.
        line: Its cosignature, or ``None``.
    """

    witness: str
    note: Note
    error: NbgovError | None = None
    line: SignatureLine | None = None

    @property
    def state(self) -> State:
        """``cosigned``, ``away`` or ``refused``."""
        if self.error is None:
            return "cosigned"
        return "refused" if isinstance(self.error, IntegrityFailed) else "away"


@dataclass(frozen=True, slots=True)
class Round:
    """What the witnesses answered to the newest checkpoint.

    Attributes:
        note: The checkpoint, ``None`` for a log without entries.
        answers: What each witness answered; those that did not answer in time are away.
        is_witnessed: Whether as many of them cosigned one checkpoint as have to.
    """

    note: Note | None
    answers: tuple[Answered, ...] = ()
    is_witnessed: bool = False

    @property
    def refusal(self) -> Answered | None:
        """The first of the answers that refuse the log."""
        return next((one for one in self.answers if one.state == "refused"), None)


@dataclass(frozen=True, slots=True)
class Witnessed:
    """How far a log is witnessed.

    Attributes:
        size: How many entries the newest witnessed checkpoint covers; 0 for none.
        at: When the first of its witnesses cosigned it, as that one tells.
        by: The names of the witnesses whose cosignatures it carries.
        is_refused: Whether a witness refused the log, and no round went well since.
    """

    size: int
    at: datetime | None
    by: tuple[str, ...]
    is_refused: bool


class Cosigner:
    """Brings the checkpoints of one log to its witnesses.

    Args:
        log: The log.
        witnesses: Who cosigns.
        quorum: How many have to; all of them by default.

    Attributes:
        refusal: Why a witness refused the log, until somebody forgives it.
    """

    def __init__(
        self, log: AuditLog, witnesses: Sequence[Witness], *, quorum: int | None = None
    ) -> None:
        self.log = log
        self.witnesses = {witness.key: witness for witness in witnesses}
        self.quorum = quorum or len(self.witnesses)
        self.sizes: dict[VerifierKey, int] = {}
        self.refusal: IntegrityFailed | None = None
        self.is_kept = False
        self.guard = threading.Lock()
        self.slots = {key: threading.Semaphore(ASKED_AT_ONCE_MAX) for key in self.witnesses}

    def round(self, *, wait_s: float = ROUND_WAIT_S) -> Round:
        """Bring the newest checkpoint to every witness, and keep it once enough have cosigned.

        Args:
            wait_s: How long to wait for all of them.

        Raises:
            BackendFailed: The log cannot make a checkpoint, or cannot keep the note.
        """
        note = self.log.checkpoint()
        if note is None or not self.witnesses:
            return Round(note)
        answers = self.ask_all(note, wait_s)
        for one in answers:
            if isinstance(one.error, IntegrityFailed):
                self.stop(one.error, one.note)
        return Round(note, answers, self.keep_witnessed(answers))

    def stop(self, error: IntegrityFailed, note: Note) -> None:
        """Remember that a witness refused the log, for later sessions too."""
        with self.guard:
            self.refusal, self.is_kept = error, False
            self.log.keep_note("refused", str(note))
            self.is_kept = True

    def standing(self) -> IntegrityFailed | None:
        """Why the log is refused, by this object or by another before it; ``None`` if it is not.

        Raises:
            BackendFailed: What is kept beside the log cannot be read.
        """
        with self.guard:
            if self.log.note("refused"):
                self.refusal, self.is_kept = self.refusal or REMEMBERED, True
            elif self.is_kept:
                self.refusal, self.is_kept = None, False
            return self.refusal

    def forgive(self) -> None:
        """Go on although a witness refused the log: a person has looked.

        Raises:
            BackendFailed: The log cannot forget it.
        """
        with self.guard:
            if self.log.note("refused"):
                self.log.keep_note("refused", "")
            self.refusal, self.is_kept = None, False

    # ------------------------------------------------------------ one round

    def ask_all(self, note: Note, wait_s: float) -> tuple[Answered, ...]:
        """The answer of each witness, asked all at once."""
        came: queue.SimpleQueue[tuple[VerifierKey, Answered]] = queue.SimpleQueue()
        asked = [key for key, slot in self.slots.items() if slot.acquire(blocking=False)]
        for witness in map(self.witnesses.__getitem__, asked):
            work = functools.partial(self.ask, witness, note, came)
            # A thread that waits for a socket must not keep the process from ending.
            threading.Thread(target=work, name="nbgov witness", daemon=True).start()
        answers: dict[VerifierKey, Answered] = {}
        until = time.monotonic() + wait_s
        with contextlib.suppress(queue.Empty):
            while len(answers) < len(asked):
                key, answer = came.get(timeout=max(0.0, until - time.monotonic()))
                answers[key] = answer
        return tuple(answers.get(key) or too_late(key, note) for key in self.witnesses)

    def ask(
        self,
        witness: Witness,
        note: Note,
        came: queue.SimpleQueue[tuple[VerifierKey, Answered]],
    ) -> None:
        """Ask one witness until it cosigns, refuses or is found to be away."""
        key = witness.key
        try:
            for _ in range(TRIES_MAX):
                answer = self.submit(witness, note)
                if isinstance(answer, SignatureLine):
                    self.sizes[key] = note.checkpoint.size
                    came.put((key, Answered(key.name, note, line=answer)))
                    return
                self.sizes[key] = answer
                if answer > note.checkpoint.size:
                    # Another session was faster, so that the log has grown; else it has shrunk.
                    note = self.log.checkpoint() or note
                if answer > note.checkpoint.size:
                    raise refused(key, f"it has seen {answer} entries, and the log has fewer")
            raise away(key, "it knows another size each time")
        except NbgovError as error:
            came.put((key, Answered(key.name, note, error)))
        finally:
            self.slots[key].release()

    def submit(self, witness: Witness, note: Note) -> SignatureLine | int:
        """Bring a checkpoint to a witness, with the path from the one that it should know."""
        key, size = witness.key, note.checkpoint.size
        if key not in self.sizes:
            kept = self.kept()
            self.sizes[key] = kept.checkpoint.size if kept and checked(kept, [key]) else 0
        old = min(self.sizes[key], size)
        path = consistency_path(old, size, self.log.subtree)
        return witness.cosign(note, old_size=old, path=path)

    def keep_witnessed(self, answers: Sequence[Answered]) -> bool:
        """Keep the newest checkpoint that enough witnesses cosigned; whether there is one."""
        kept = self.kept()
        notes = {one.note.text: one.note for one in answers if one.line is not None}
        for text, note in sorted(notes.items(), key=lambda item: -item[1].checkpoint.size):
            lines = [one.line for one in answers if one.line is not None and one.note.text == text]
            if kept is not None and kept.text == text:
                lines = [*checked(kept, self.witnesses), *lines]
            whole = note.with_signatures(lines)
            if len(checked(whole, self.witnesses)) >= self.quorum:
                if kept is None or kept.checkpoint.size <= note.checkpoint.size:
                    self.log.keep_note("witnessed", str(whole))
                return True
        return False

    def kept(self) -> Note | None:
        """The checkpoint that was witnessed last; ``None`` where what is kept is none."""
        try:
            return Note.parse(self.log.note("witnessed"))
        except IntegrityFailed:
            return None  # That it was spoilt is for a verifier to say; witnesses are asked anew.


def checked(note: Note, keys: Iterable[VerifierKey]) -> tuple[SignatureLine, ...]:
    """The signatures under a note that are of one of these keys, and right."""
    known = {(key.name, key.key_id): key for key in keys}
    pairs = ((line, known.get((line.name, line.key_id))) for line in note.signatures)
    return tuple(line for line, key in pairs if key and is_signed(note.text, line, key))


def too_late(key: VerifierKey, note: Note) -> Answered:
    """A witness that did not answer in time."""
    return Answered(key.name, note, away(key, "it did not answer in time"))


def witnessed(log: Evidence, keys: Iterable[VerifierKey]) -> Witnessed:
    """How far a log is witnessed, by what is kept beside it. Nobody is asked.

    Args:
        log: The log.
        keys: The keys of its witnesses. Cosignatures under others count for nothing.

    Raises:
        BackendFailed: It cannot be read (code ``state-unavailable``).
        IntegrityFailed: What is kept is no note (code ``checkpoint-invalid``).
    """
    is_refused = bool(log.note("refused"))
    text = log.note("witnessed")
    note = Note.parse(text) if text else None
    lines = checked(note, keys) if note else ()
    if note is None or not lines:
        return Witnessed(0, None, (), is_refused)
    seconds = min(int.from_bytes(line.value[:TIME_BYTES], "big") for line in lines)
    by = tuple(line.name for line in lines)
    return Witnessed(note.checkpoint.size, datetime.fromtimestamp(seconds, UTC), by, is_refused)


class Cosigning:
    """Goes round the witnesses in the background, as long as a session runs statements.

    Args:
        cosigners: One for each log.
        every_s: Time from one round to the next.
    """

    def __init__(self, cosigners: Iterable[Cosigner], *, every_s: float) -> None:
        self.cosigners = tuple(cosigners)
        self.every_s = every_s
        self.thread: threading.Thread | None = None
        self.over = threading.Event()
        self.guard = threading.Lock()

    def check(self) -> None:
        """Pass unless a witness has refused a log. The first call starts the rounds.

        Raises:
            IntegrityFailed: A witness did, in this session or in an earlier one, and nobody has
                put it right since (code ``witness-refused``).
            BackendFailed: Whether one did cannot be read (code ``state-unavailable``).
        """
        is_first = self.thread is None
        for cosigner in self.cosigners:
            if is_first or cosigner.refusal is not None:
                found = cosigner.standing()
                if found is not None:
                    self.start()
                    raise IntegrityFailed(
                        found.what, code=found.code, why=found.why, next_step=found.next_step
                    )
        self.start()

    def start(self) -> None:
        """Start the rounds, unless they have been started."""
        with self.guard:
            if self.thread is None:
                self.over.clear()
                work = threading.Thread(target=self.go_round, name="nbgov rounds", daemon=True)
                work.start()
                self.thread = work

    def go_round(self) -> None:
        """One round after the other, until the session is over."""
        while not self.over.is_set():
            self.one_round(wait_s=ROUND_WAIT_S)
            self.over.wait(self.every_s)

    def one_round(self, *, wait_s: float) -> None:
        """One round for each log."""
        for cosigner in self.cosigners:
            # A log that cannot go on says so itself, to whoever appends to it.
            with contextlib.suppress(NbgovError):
                cosigner.round(wait_s=wait_s)

    def close(self, *, wait_s: float = CLOSE_WAIT_S) -> None:
        """Stop, with a last round that waits a few seconds at most. Callable more than once."""
        with self.guard:
            thread, self.thread = self.thread, None
        if thread is None:
            return
        self.over.set()
        until = time.monotonic() + wait_s
        thread.join(wait_s)
        if not thread.is_alive():
            self.one_round(wait_s=max(LAST_WAIT_S, until - time.monotonic()))


REMEMBERED = IntegrityFailed(
    "A witness refuses the audit log.",
    code="witness-refused",
    why="it said so before, and nobody has put it right since",
    next_step="look at it with nbgov audit cosign, and ask who runs the witness",
)
