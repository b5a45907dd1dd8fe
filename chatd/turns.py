"""The order of one session's calls: which of the lines that have come may be begun.

The rule: calls take effect in the order sent. Only light calls (`say`) fly together, so that one sender is not limited
to one message a commit; every other call is a barrier: the next line is looked at when it is answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from chatd import command
from chatd.carry import Work, carry
from chatd.errors import Refusal
from chatd.limits import Limits
from chatd.model import Call
from chatd.wire.framing import Overlong

if TYPE_CHECKING:
    from chatd.session import Session


class Refused(NamedTuple):
    """A line that asks for nothing that can be done: its handle, and why. Told in its turn, like any answer."""

    ref: Any
    refusal: Refusal


def _size(line: bytes | Overlong) -> int:
    return len(line) if isinstance(line, bytes) else 0


class Turns:
    """What one session has been asked to do and has not done yet."""

    __slots__ = (
        "_bound",
        "_going_on",
        "_pinging",
        "_pumping",
        "_session",
        "_taken",
        "_wants",
        "_watched",
        "barrier",
        "call",
        "flying",
        "follow",
        "lines",
    )

    def __init__(self, session: Session) -> None:
        self._session = session
        self.lines: list[bytes | Overlong] = []
        """What has come and was not looked at."""
        self.call: Call | None = None
        """The call that is a barrier, while it is under way."""
        self.barrier = False
        """Whether nothing more is begun just now: for that call, or until the session is level with the log."""
        self.flying = 0
        """How many light calls are under way."""
        self.follow: int | None = None
        """Somebody has logged in: all past this place in the log is to be shown before the next line is begun."""
        self._bound: Call | Refused | None = None
        self._wants: tuple[Call, ...] = ()
        self._watched: tuple[tuple[int, Callable[[], None]], ...] = ()
        self._taken = 0
        self._pumping = self._pinging = self._going_on = False

    @property
    def waiting(self) -> bool:
        """Whether anything is accepted and not begun."""
        return bool(self.lines or self._wants or self._bound is not None)

    @property
    def idle(self) -> bool:
        """Whether all is done."""
        return not (self.waiting or self.barrier or self.flying or self.follow is not None)

    def crowded(self, limits: Limits) -> bool:
        """Whether so much waits that no more should be read."""
        if len(self.lines) + self.flying > limits.waiting_lines:
            return True
        return bool(self.lines) and sum(map(_size, self.lines)) > limits.waiting_bytes

    def want(self, calls: Iterable[Call], *, first: bool = False) -> None:
        """A dialect asks for these by itself: before the next line, and before or behind what it asked for already."""
        self._wants = (*calls, *self._wants) if first else (*self._wants, *calls)

    def clear(self) -> None:
        """The connection has ended: nothing is begun any more."""
        self.lines.clear()
        self._bound = None
        self._wants = ()
        self._session.instance.waiting.discard(self)
        self.tell_watchers()

    def let_go(self) -> None:
        """The session is over."""
        del self._session

    # -- in order -----------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Begin what can be begun. What is answered at once comes back here: the loop goes on with it."""
        if self._pumping:
            return
        self._pumping = True
        try:
            self._begin()
        finally:
            self._pumping = False
        waiting = self._session.instance.waiting
        if self.waiting:
            waiting.add(self)
        else:
            waiting.discard(self)
        self.tell_watchers()

    def _begin(self) -> None:
        """Nothing is begun for whom the answers of what was begun already are too many to send, or to wait for."""
        session, lines = self._session, self.lines
        ration, most = session.instance.ration, session.instance.settings.limits.waiting_lines
        taken, left = 0, (portion := ration.portion())
        try:
            while not self.barrier and session.open:
                if not (taken < len(lines) or self._bound is not None or self._wants or self.follow is not None):
                    break
                if session.clogged or self.flying > most:
                    break
                if not left:
                    self._go_on_later()
                    break
                left -= 1
                bound, self._bound = self._bound, None
                if bound is None and self._wants:
                    bound, *wants = self._wants
                    self._wants = tuple(wants)
                if bound is None and self.follow is not None:
                    self._follow_on(self.follow)
                    break
                if bound is None:
                    taken += 1
                    bound = session.intake.bind(lines[taken - 1])
                    if bound is None:
                        continue
                if isinstance(bound, Call) and (entry := command.TABLE[bound.verb]).light and session.account:
                    self.flying += 1
                    session.instance.db.submit(Work(session, bound, entry))
                elif self.flying:
                    self._bound = bound
                    break
                elif isinstance(bound, Call):
                    self.start(bound)
                else:
                    session.answers.refuse(bound.ref, bound.refusal)
        finally:
            del lines[:taken]  # whatever fails, no line is begun twice
            ration.spend(portion - left)
        self._taken += taken

    def _go_on_later(self) -> None:
        """The rest has its turn, once however often answers bring us here: else who floods had most of the places."""
        if self._going_on:
            return
        self._going_on = True
        session = self._session

        def go_on() -> None:
            self._going_on = False
            session.go_on()

        session.instance.onward.later(go_on)

    def _follow_on(self, after: int) -> None:
        """All is said that belongs before what was missed; the next line is begun when that is shown, too."""
        self.follow = None
        self.barrier = True
        self._session.instance.feed.follow(self._session, after)

    def start(self, call: Call) -> None:
        """Begin a call that is a barrier. A ping comes behind what everybody on this instance has sent before it."""
        self.barrier = True
        self.call = call
        if call.verb != "ping" or not self._behind_others(call):
            carry(self._session, call)

    def landed(self, call: Call) -> None:
        """This call is answered."""
        if self.call is call:
            self.barrier = False
            self.call = None
        else:
            self.flying -= 1

    def alone(self, call: Call) -> bool:
        """Whether no other answer is under way; then what comes next waits for this one."""
        if self.call is not call:
            if self.flying > 1:
                return False
            self.flying -= 1
            self.call = call
            self.barrier = True
        return True

    # -- behind others ------------------------------------------------------------------------------------------------

    def _behind_others(self, call: Call) -> bool:
        """Begin this once what others have sent is begun; False: nothing of theirs waits.

        Nobody waits for a session that waits like this itself (so that no two wait for each other), that hashes a
        password, or whose client does not read.
        """
        session = self._session
        others = [turns for turns in session.instance.waiting if turns is not self and turns._come_on()]
        left = len(others)

        def one() -> None:
            nonlocal left
            left -= 1
            if not left:
                self._pinging = False
                if not session.gone:
                    carry(session, call)

        for turns in others:
            turns._watched += ((turns._taken + len(turns.lines), one),)
        self._pinging = bool(others)
        return bool(others)

    def _come_on(self) -> bool:
        """Whether the lines that wait here will be begun soon."""
        slow = self.call is not None and self.barrier and command.TABLE[self.call.verb].prepare is not None
        return self._session.live and not self._pinging and not slow

    def tell_watchers(self) -> None:
        """Who waited for what is begun now need not any longer; nor for a session that does not come on."""
        if not self._watched:
            return
        watched, self._watched = self._watched, ()
        stuck = not self._come_on()
        idle = not self.waiting
        for target, tell in watched:
            if stuck or idle or self._taken > target or (self._taken == target and not (self._wants or self._bound)):
                tell()
            else:
                self._watched += ((target, tell),)
