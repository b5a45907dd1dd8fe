"""Who is here on one connection: on whose behalf, as which device and in which room its calls run.

The rule: a call sees who is here as it stands when the call begins (`me`); whoever changes a part of that says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger

from chatd import command
from chatd.errors import Refusal
from chatd.letterbox import Letterbox
from chatd.model import Account, Call, Me, Reply, Turn
from chatd.store import Tx

if TYPE_CHECKING:
    from chatd.session import Session

_log = Logger()


class Identity:
    """Who one session is. What the feed looks at for each event (account, login, focus) stands in the session itself;
    this alone sets it."""

    __slots__ = ("_box", "_device", "_guest", "_me", "_operator", "_session", "told")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._me: Me | None = None
        self._guest = self._operator = False
        self._device: tuple[int, str] | None = None
        self._box: Letterbox | None = None
        self.told = 0
        """Up to there a person was told at login what waits in their inbox."""

    @property
    def me(self) -> Me:
        """On whose behalf calls run now."""
        if self._me is None:
            session = self._session
            settings = session.instance.settings
            operator = self._operator or session.name in settings.operators
            here = (*session.connection.here(), session.secure)
            certificate = session.connection.certificate() if session.secure else ""
            who = (session.account, session.name, session.focus, session.login, session.address)
            self._me = Me(*who, settings, operator, here, certificate, *(self._device or ()))
        return self._me

    def changed(self) -> None:
        """Calls that begin from now on see it anew."""
        self._me = None

    def let_go(self) -> None:
        """The session is over."""
        del self._session

    # -- in and out ---------------------------------------------------------------------------------------------------

    def log_in(self, account: Account, turn: Turn, reply: Reply) -> None:
        """Somebody is here: follow the log from where they left off; the next line is read when it is caught up."""
        session, instance = self._session, self._session.instance
        dialect = session.dialect
        assert dialect is not None
        session.account, session.name = account
        session.login = turn.login
        self._guest = bool(reply.fields.get("guest"))
        session.focus = reply.fields.get("current", 0) if dialect.interactive else 0
        self._me = None
        self.told = reply.fields["seq"]
        session.since = instance.seconds()
        session.move("login")
        dialect.widen(instance.settings.limits.json_line_bytes)
        instance.presence.arrive(session)
        instance.audit.connected(session)
        after = reply.fields["seq"]
        if turn.since is not None:
            after = min(after, turn.since)
        elif dialect.cursor and not reply.fields["long_absence"]:
            after = reply.fields["cursor"]
        session.turns.follow = after
        session.turns.barrier = False

    def log_out(self, why: str) -> None:
        """Nobody is here any more."""
        session, instance = self._session, self._session.instance
        if why in ("quit", "logout") or (why != "cut" and session.has_seen_all()):
            self._save()
        instance.feed.part(session)
        instance.watching.unwatch(session)
        if self._box is not None:
            instance.feed.boxes.close(self._box)
        self._box = self._device = None
        instance.presence.depart(session)
        instance.audit.disconnected(session, why)
        if session.dialect is not None and session.dialect.cursor:
            account, login = session.account, session.login
            # A face that was never shown its token cannot come back with it.
            instance.db.write(lambda tx: tx.drop_login(account, login)).addErrback(lambda _: None)
        if self._guest:
            self._vanish()
        session.account = session.login = session.focus = 0
        session.name = ""
        self._me = None

    def _vanish(self) -> None:
        """A guest is tied to this session: with it go the memberships and the name."""
        me, session = self.me._replace(login=0), self._session  # the login may have ended already
        reason = session.dialect.farewell if session.dialect is not None else ""
        self._guest = self._operator = False
        session.instance.db.write(lambda tx: command.perform(tx, me, Call("vanish", {"reason": reason}))).addErrback(
            lambda failure: None if failure.check(Refusal) else _log.failure("a guest leaves", failure)
        )

    def _save(self) -> None:
        """Remember how far this person was shown everything, and where they were."""
        session = self._session
        if session.dialect is None or not session.dialect.cursor or not session.level:
            return
        account, room, focused = session.account, session.focus, session.focused
        seq = session.instance.feed.position

        def save(tx: Tx) -> None:
            tx.save_cursors([(account, seq)])
            if focused:
                tx.set_last_room(account, room)

        session.instance.db.write(save).addErrback(lambda _: None)

    # -- as what ------------------------------------------------------------------------------------------------------

    def become_operator(self) -> None:
        """As long as this connection lasts, whoever is here may do what operators may."""
        self._operator = True
        self._me = None

    def become_device(self, device: tuple[int, str]) -> None:
        """This session is that device of its account: it is handed what is for that one alone."""
        session = self._session
        assert session.dialect is not None
        if not session.dialect.decrypts or not session.account:
            return
        boxes = session.instance.feed.boxes
        if self._box is not None:
            boxes.close(self._box)
        self._device = device
        self._box = boxes.open(session, device[0])
        self._me = None

    def renamed(self, name: str) -> None:
        """Whoever is here has another name."""
        self._session.name = name
        self._me = None

    def refocus(self, room: int) -> None:
        """Another room is the current one; 0: none is."""
        if room != self._session.focus:
            self._session.instance.feed.routing.refocus(self._session, room)
            self._me = None
