"""A call on its way: to the readers, over the password thread, through the writer, and back to its session.

The rule: nothing slow happens inside a transaction, and no session waits for another's slow work.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Final

from twisted.python.failure import Failure

from chatd import command
from chatd.command import Slow
from chatd.crowd import network
from chatd.errors import Refusal
from chatd.model import Ask, Call, Reply
from chatd.store import ReadTx, Tx

if TYPE_CHECKING:
    from chatd.session import Session

LOOKS: Final = 3
"""How often something is read anew that has changed meanwhile."""


def carry(session: Session, call: Call) -> None:
    """Have this done; `session.answers` hears what came of it."""
    entry = command.TABLE[call.verb]
    me = session.identity.me
    db = session.instance.db
    if entry.local:
        outcome: Any
        try:
            outcome = command.perform(None, me, call)  # type: ignore[arg-type]
        except Refusal as refusal:
            outcome = refusal
        except Exception:
            outcome = Failure()
        session.answers.done(call, outcome)
    elif entry.prepare is not None:
        read = db.read if me.account else db.read_between
        read(lambda tx: command.prepare(tx, me, call)).addCallback(_prepared, session, call).addErrback(
            lambda failure: session.answers.done(call, failure, late=True)
        )
    elif entry.level:
        _read_level(session, call, LOOKS)
    elif entry.read:
        db.read(lambda tx: command.perform(tx, me, call), scans=entry.scans(call.args)).addBoth(  # type: ignore[arg-type]
            lambda result: session.answers.done(call, result, late=True)
        )
    else:
        _submit(session, call, entry)


def _submit(session: Session, call: Call, entry: command.Command, slow: Any = None) -> None:
    """Into the next commit; who comes in passes the gate first, and has left it once there is an answer to send."""
    instance = session.instance
    if entry.after is None:
        instance.db.submit(Work(session, call, entry, slow))
        return

    def enter() -> None:
        if session.gone:
            instance.gate.leave()
        else:
            instance.db.submit(Work(session, call, entry, slow, gated=True))

    instance.gate.enter(enter)


def _read_level(session: Session, call: Call, looks: int) -> None:
    """Read beside the writer what the coming events continue. Where the room has changed between the snapshot and what
    was delivered here meanwhile, look again; where it changes all the time, ask in the writer's queue.
    """
    me, db, feed = session.identity.me, session.instance.db, session.instance.feed
    if not looks:
        db.submit(Work(session, call, command.TABLE[call.verb]))
        return

    def read(tx: ReadTx) -> tuple[int, command.Outcome]:
        return tx.last_seq(), command.perform(tx, me, call)  # type: ignore[arg-type]

    def looked(found: tuple[int, command.Outcome]) -> None:
        seq, outcome = found
        if isinstance(outcome, Reply) and feed.has_changed(outcome.fields["room_id"], seq):
            _read_level(session, call, looks - 1)
        else:
            session.answers.done(call, outcome, late=True)

    db.read(read).addCallbacks(looked, lambda failure: session.answers.done(call, failure, late=True))


def _prepared(outcome: Slow | Ask, session: Session, call: Call) -> None:
    """A call's checks and questions are behind it: do its slow work, then the call itself."""
    if isinstance(outcome, Ask):
        session.answers.done(call, outcome, late=True)
        return
    entry = command.TABLE[call.verb]
    work = outcome.run

    def unless_gone() -> Any:
        """Who comes in and has hung up meanwhile gets no further: that costs nobody else their time."""
        return None if session.gone else work()

    # Limits by address do not hold on the machine itself: there each connection is its own network.
    who: Hashable = session if session.exempt else network(session.address)
    session.instance.slowly(work if entry.after is None else unless_gone, who).addCallbacks(
        lambda slow: _submit(session, call, entry, slow),
        lambda failure: session.answers.done(call, failure, late=True),
    )


class Work:
    """A session's call on its way through the writer."""

    __slots__ = ("_gated", "_slow", "account", "call", "light", "login", "me", "mid", "origin", "room")

    def __init__(
        self, session: Session, call: Call, entry: command.Command, slow: Any = None, *, gated: bool = False
    ) -> None:
        self.origin = session
        self.call = call
        self.me = session.identity.me
        self.light = entry.light and bool(session.account)
        self.account = session.account
        self.login = self.me.login
        self.room: str | int | None = (call.room or session.focus) if self.light else None
        self.mid = call.mid if session.account else None
        self._slow = slow
        self._gated = gated

    def run(self, tx: Tx) -> command.Outcome:
        """Inside the transaction."""
        return command.perform(tx, self.me, self.call, self._slow)

    def done(self, result: Any) -> None:
        """Behind the commit, in the reactor."""
        if self._gated and not (isinstance(result, Reply) and result.turn is not None):
            self.origin.instance.gate.leave()  # else the session does, once it has read what more there is to tell
        if self.light:
            self.origin.answers.flown(self.call, result)
        else:
            self.origin.answers.done(self.call, result)
