"""Operations on a real database, without a server: people type lines, the log tells what each of them hears.

The rule: everything goes the way it goes in the daemon (`bind`, `perform`, `attempt`, the log, `texts`); only the
session, the socket and the reactor are left out.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.python.failure import Failure

from chatd import commands, names, texts  # noqa: F401  (the table fills)
from chatd.command import NEAR, TABLE, Settings, bind, perform, suggest
from chatd.errors import Refusal
from chatd.limits import Limits
from chatd.model import Account, Ask, Call, Event, Me, Reply
from chatd.store import ReadTx, Tx
from chatd.store.database import attempt, foresee
from chatd.store.migrate import migrate
from chatd.store.sqlite import FILE, prepare_writer

AT = int(time.mktime((2026, 11, 1, 14, 2, 7, 0, 0, -1)) * 1000)
"""The moment at which a test's world begins: 14:02:07, local time."""


class _Work:
    """A call on its way through the writer, as the session hands it in."""

    def __init__(self, run: Callable[[Tx], Any], me: Me | None = None, call: Call | None = None) -> None:
        self.run = run
        self.light = call is not None and TABLE[call.verb].light
        self.account, self.login = (0, 0) if me is None else (me.account, me.login)
        self.room = (call.room or me.room) if call is not None and me is not None else None
        self.mid = None if call is None else call.mid
        self.origin = None

    def done(self, result: Any) -> None:
        """Not called: the caller takes the result itself."""


class World:
    """One database and the people who use it."""

    def __init__(self, data: Path, settings: Settings | None = None) -> None:
        data.mkdir(parents=True, exist_ok=True)
        migrate(data)
        self.connection = sqlite3.connect(data / FILE, isolation_level=None)
        prepare_writer(self.connection, "normal")
        self.settings = settings or Settings()
        self.now = AT

    def close(self) -> None:
        """Close the file, which must be sound."""
        assert self.connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert self.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        self.connection.close()

    def limit(self, **limits: Any) -> None:
        """Go on under other limits."""
        self.settings = replace(self.settings, limits=replace(self.settings.limits, **limits))

    def set(self, **settings: Any) -> None:
        """Go on under other settings."""
        self.settings = replace(self.settings, **settings)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += int(seconds * 1000)

    def write(self, run: Callable[[Tx], Any], me: Me | None = None, call: Call | None = None) -> Any:
        """Do this in one transaction, as the database does: what it raises undoes it, a Refusal is its result."""
        work = _Work(run, me, call)
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            tx = Tx(self.connection, self.now, 1)
            tx.begin()
            foresee(tx, [work])
            result = attempt(tx, work, {})
            tx.flush()
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        if isinstance(result, Failure):
            result.raiseException()
        return result

    def read(self, run: Callable[[ReadTx], Any]) -> Any:
        """Read this from one snapshot."""
        self.connection.execute("BEGIN")
        try:
            return run(ReadTx(self.connection, self.now, 1))
        finally:
            self.connection.execute("ROLLBACK")

    def log(self, after: int = 0) -> list[Event]:
        """The log past `after`."""
        events: list[Event] = self.read(lambda tx: tx.tail(after))
        return events

    def person(self, name: str) -> Person:
        """Somebody new."""
        account = self.write(lambda tx: tx.add_account(name, names.skeleton(name), None))
        return Person(self, account)

    def people(self, *wanted: str) -> list[Person]:
        """Several, in this order."""
        return [self.person(name) for name in wanted]

    def delete(self, person: Person) -> None:
        """Only the account: what its groups do about it is not ours."""
        self.write(lambda tx: tx.delete_account(person.id))

    def online(self, *people: Person) -> None:
        """These are connected to a live instance, and nobody else."""

        def there(tx: Tx) -> None:
            tx.leave(1, "boot")
            tx.beat(1, "boot")
            tx.come(1, [person.id for person in people])

        self.write(there)


class Person:
    """An account with one session, on a dialect for people. `room` is the current room's id."""

    def __init__(self, world: World, account: Account) -> None:
        self.world = world
        self.id, self.name = account
        self.room = 0
        self.operator = False
        self._heard = world.read(lambda tx: tx.last_seq())

    @property
    def me(self) -> Me:
        """On whose behalf calls run now."""
        return Me(self.id, self.name, self.room, 0, "127.0.0.1", self.world.settings, self.operator)

    def do(self, call: Call) -> Reply | Ask | Refusal:
        """Have this done; what came of it."""
        entry = TABLE[call.verb]
        me = self.me
        result: Any
        if entry.local or entry.read:
            try:
                if entry.local:
                    result = perform(None, me, call)  # type: ignore[arg-type]
                else:
                    result = self.world.read(lambda tx: perform(tx, me, call))
            except Refusal as refusal:
                result = refusal
        else:
            result = self.world.write(lambda tx: perform(tx, me, call), me, call)
        if isinstance(result, Refusal) and result.code in NEAR and not result.fields["near"]:
            refusal = result
            result = self.world.read(lambda tx: suggest(tx, refusal))
        if isinstance(result, Reply) and result.turn is not None:
            if result.turn.room is not None:
                self.room = result.turn.room.id
            if result.turn.leave_room:
                self.room = 0
        return result

    def call(
        self, verb: str, room: str | int | None = None, mid: str | None = None, /, **args: Any
    ) -> Reply | Ask | Refusal:
        """One call as a program makes it."""
        return self.do(Call(verb, args, room, mid, confirmed=True))

    def ok(self, verb: str, room: str | int | None = None, mid: str | None = None, /, **args: Any) -> Mapping[str, Any]:
        """The fields that a program's call is answered with."""
        result = self.call(verb, room, mid, **args)
        assert isinstance(result, Reply), f"{verb}: {result!r}"
        return result.fields

    def code(self, verb: str, room: str | int | None = None, mid: str | None = None, /, **args: Any) -> str:
        """The code that a program's call is refused with."""
        result = self.call(verb, room, mid, **args)
        assert isinstance(result, Refusal), f"{verb}: {result!r}"
        return result.code

    def type(self, line: str, *, yes: bool = False) -> list[str]:
        """Type a line; what the answer to it shows, a question included. `yes`: to a question back."""
        try:
            if line.startswith("/"):
                name, _, rest = line[1:].partition(" ")
                call = bind(name, rest)
            else:
                call = Call("say", {"text": line})
            return shown(self.do(call._replace(confirmed=yes)))
        except Refusal as refusal:
            return shown(refusal)

    def hears(self) -> list[str]:
        """What this person has been shown of the log since the last time."""
        world, after = self.world, self._heard
        lines = []

        def heard(tx: ReadTx) -> tuple[list[Event], dict[int, str]]:
            last = tx.last_seq()
            events = tx.heard(self.id, after, last, 1000)[0]
            self._heard = last
            found = {event.room: tx.room(event.room, self.id) for event in events}
            return events, {number: room.name for number, room in found.items() if room is not None}

        events, rooms = world.read(heard)
        for event in events:
            about = event.data["room"] if event.kind == "asked" and event.data is not None else event.room
            lines += texts.event(event, rooms[event.room], self.id, about == self.room)
        return lines


def shown(result: Reply | Ask | Refusal) -> list[str]:
    """The lines that a person sees of an outcome."""
    if isinstance(result, Reply):
        return texts.reply(result.name, result.fields)
    if isinstance(result, Refusal):
        return texts.refusal(result.code, result.fields)
    lead = [] if result.lead is None else texts.reply(result.lead.name, result.lead.fields)
    return [*lead, texts.prompt(result.prompt, result.fields)]


def limits(**wanted: Any) -> Settings:
    """Settings with these limits."""
    return Settings(limits=Limits(**wanted))
