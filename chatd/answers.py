"""What came of one session's calls: written in its dialect, and what changes in the session with it.

The rule: a refusal is written in one place, here.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger
from twisted.python.failure import Failure

from chatd import command
from chatd.errors import Refusal
from chatd.model import Account, Ask, Call, Reply, Turn

if TYPE_CHECKING:
    from chatd.session import Session
    from chatd.store import ReadTx

NONSENSE: Final = frozenset({"UNKNOWN_CMD", "BAD_LINE", "LINE_TOO_LONG"})

_log = Logger()


class Answers:
    """Answers one session."""

    __slots__ = ("_nonsense", "_pong", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._nonsense = 0
        self._pong: Reply | None = None

    def let_go(self) -> None:
        """The session is over."""
        del self._session

    # -- what came of it ----------------------------------------------------------------------------------------------

    def flown(self, call: Call, result: Any) -> None:
        """What came of a light call: nearly always an answer that changes nothing here."""
        session = self._session
        if result.__class__ is not Reply or result.turn is not None or session.gone:
            self.done(call, result)
            return
        assert session.dialect is not None
        turns = session.turns
        turns.flying -= 1
        self._nonsense = 0
        if session.interview is not None:
            session.interview.settle(inside=True)
        session.write(session.dialect.reply(call, result))
        if session.dialect.lively:
            session.intake.heed()
        if turns.waiting or session.paused or session.ending:
            session.pump()

    def done(self, call: Call, result: Any, *, late: bool = False) -> None:
        """What came of a call. `late`: in a turn of the reactor in which nothing else would send it."""
        session = self._session
        if isinstance(result, Failure):
            error = result.value
            result = error if isinstance(error, Refusal) else broken(call.verb, result)
        if (
            isinstance(result, Refusal)
            and result.code in command.NEAR
            and not result.fields["near"]
            and session.turns.alone(call)
        ):
            refusal = result
            session.instance.db.read(lambda tx: command.suggest(tx, refusal)).addErrback(lambda _: refusal).addCallback(
                self._settle_late, call
            )
            return
        if isinstance(result, Reply) and result.name == "pong":
            session.instance.feed.when(result.fields["seq"], lambda: self._reached(call, result))
            return
        if isinstance(result, Reply) and result.turn is not None and result.turn.account is not None:
            self._read_more(call, result, result.turn.account, result.turn.login)
            return
        self._settle(call, result)
        if late:
            session.instance.feed.flush()

    def _reached(self, call: Call, pong: Reply) -> None:
        """All up to there is delivered here; a session that is behind it is answered once it is not."""
        if self._session.behind:
            self._pong = pong
        else:
            self._settle(call, pong)

    def caught_up(self) -> None:
        """The session is not behind any more."""
        pong, self._pong = self._pong, None
        if pong is not None:
            call = self._session.turns.call
            assert call is not None
            self._settle(call, pong)

    def _read_more(self, call: Call, reply: Reply, account: Account, login: int) -> None:
        """Somebody is in: read what there is to tell them, beside the writer. A login that was ended meanwhile, before
        this session began to hear of such things, is none.
        """
        after = command.TABLE[call.verb].after
        if after is None:
            self._settle(call, reply)
            return
        instance = self._session.instance
        settings = instance.settings

        def told(more: Any) -> Any:
            instance.gate.leave()
            return more

        def read(tx: ReadTx) -> dict[str, Any]:
            if not tx.stands(login):
                raise Refusal("NOT_LOGGED_IN")
            return after(tx, account, settings)

        instance.db.read_between(read).addBoth(told).addCallback(
            lambda more: reply._replace(fields={**reply.fields, **more})
        ).addCallbacks(self._settle_late, self._untold, callbackArgs=(call,), errbackArgs=(call,))

    def _untold(self, failure: Failure, call: Call) -> None:
        """The call is done, and what belongs to its answer cannot be read: neither "welcome" nor "nothing was changed"
        would be true, so the client is to come back."""
        session = self._session
        if failure.check(Refusal) is None:
            broken(call.verb, failure)
        if session.dialect is not None:
            session.write(session.dialect.refuse(call.ref, Refusal("DRAINING"), None))
        session.close("broken")

    def _settle_late(self, result: Any, call: Call) -> None:
        self._settle(call, result)
        self._session.instance.feed.flush()

    def _settle(self, call: Call, result: Any) -> None:
        session = self._session
        session.turns.landed(call)
        if session.gone:
            return
        if isinstance(result, Refusal):
            self._refused(call, result)
        elif isinstance(result, Ask):
            self.ask(call, result)
        else:
            self._replied(call, result)
        session.pump()

    # -- no -----------------------------------------------------------------------------------------------------------

    def _refused(self, call: Call, refusal: Refusal) -> None:
        session = self._session
        interview = session.interview
        if interview is None or not interview.concerns(call, refusal):
            self.refuse(call.ref, refusal, verb=call.verb)
            if interview is not None:
                interview.settle(inside=bool(session.account))
            return
        self.refuse(call.ref, refusal, quiet_door=True, verb=call.verb)
        again = interview.again(call, refusal)
        if again is not None:
            session.turns.start(again)
        else:
            session.write(interview.cancel(inside=bool(session.account)))

    def refuse(
        self, ref: Any, refusal: Refusal, *, quiet_door: bool = False, verb: str = "", ask: Ask | None = None
    ) -> None:
        """The one place where a refusal is written."""
        session = self._session
        instance, interview = session.instance, session.interview
        assert session.dialect is not None
        instance.audit.refused(session, verb, refusal)
        session.write(session.dialect.refuse(ref, refusal, ask))
        if session.dialect.lively:
            session.intake.heed()
        if refusal.code in NONSENSE:
            self._nonsense += 1
            if self._nonsense >= instance.settings.limits.nonsense_lines and not session.exempt:
                session.close("nonsense")
                return
        if interview is not None and interview.question is not None:
            session.write(interview.repeat())
        elif not quiet_door:
            self._prompt_door()

    # -- more is needed -----------------------------------------------------------------------------------------------

    def ask(self, call: Call, ask: Ask) -> None:
        """Have what is missing asked for, where somebody can be asked."""
        interview = self._session.interview
        if interview is None:
            refusal = ask.refusal or Refusal("BAD_USAGE", usage=command.TABLE[call.verb].usage)
            self.refuse(call.ref, refusal, ask=ask)
        else:
            self._session.write(interview.ask(call, ask))

    def _prompt_door(self) -> None:
        """A person who is not logged in is at the door."""
        session = self._session
        if session.at_door and session.interview is not None:
            session.write(session.interview.prompt())

    # -- done ---------------------------------------------------------------------------------------------------------

    def _replied(self, call: Call, reply: Reply) -> None:
        session, identity = self._session, self._session.identity
        assert session.dialect is not None
        self._nonsense = 0
        if session.interview is not None:
            session.interview.settle(inside=bool(session.account))
        session.instance.audit.answered(session, reply.name)
        turn = reply.turn
        if turn is not None and turn.room is not None:
            identity.refocus(turn.room.id)
        if turn is not None and turn.leave_room:
            identity.refocus(0)
        session.write(session.dialect.reply(call, reply))
        if session.dialect.lively:
            session.intake.heed()
        if turn is None:
            self._prompt_door()
            return
        if turn.operator:
            identity.become_operator()
        if turn.watch or turn.typing or turn.stirs or turn.monitor is not None or turn.marked is not None:
            self._now(turn)
        if turn.account is not None and session.open:
            identity.log_in(turn.account, turn, reply)
        if turn.device is not None and session.open:
            identity.become_device(turn.device)
        if turn.logout:
            session.log_out("logout")
            if not turn.close:
                self._prompt_door()
        if turn.close:
            session.close("quit")

    def _now(self, turn: Turn) -> None:
        """What is true only now, and only for programs to be told."""
        session = self._session
        watching = session.instance.watching
        if turn.watch and session.interview is None:
            watching.watch(session)
        if turn.typing:
            watching.typing(session, turn.typing)
        if turn.stirs:
            watching.stir([session.account])
        if turn.monitor is not None and session.interview is None:
            watching.monitor(session, turn.monitor)
        if turn.marked is not None:
            watching.marked(session, *turn.marked)


def broken(what: str, failure: Failure) -> Refusal:
    """Something unforeseen: logged with a reference that the person can name."""
    ref = secrets.token_hex(4)
    _log.failure("{verb} broke, reference {ref}", failure, verb=what, ref=ref)
    return Refusal("INTERNAL", ref=ref)
