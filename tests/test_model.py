"""Groups against a model: whatever people do in whatever order, on two instances, by clients that come and go.

The rule: the model is a few dictionaries, written from FEATURES.md and not from the daemon. After each step the roles
in the database are the model's. At the end what each client heard live, over all its connections, is what the log
gives the same account by SQL: live routing and catch-up are two implementations of the intervals of membership.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from tests.memory import PASSWORD, Client, Server, instances, settings

MEMBER, ADMIN, OWNER = 1, 2, 3
OWNER_OF, IN, OUT = -1, -2, -3
"""In place of a person: the owner of the group that it is about, a member who is not, somebody who is not in it: so
that much of what is tried is allowed.
"""
GROUPS = ("#one", "#two")
PEOPLE = 4

people = st.integers(0, PEOPLE - 1)
callers = st.sampled_from((*range(PEOPLE), *[OWNER_OF] * PEOPLE))
others = st.sampled_from((*range(PEOPLE), *[IN, OUT] * 3))
groups = st.sampled_from(GROUPS)
VERBS = (
    *("create", "join", "join", "answer_request", "answer_request", "add", "add", "remove", "ban", "unban", "leave"),
    *("transfer", "promote", "demote", "set_door", "rename", "say", "say", "say"),
)


@dataclass
class Group:
    """What the model knows of a group: roles by person, and since when each has theirs."""

    name: str
    roles: dict[int, int] = field(default_factory=dict)
    ranked: dict[int, int] = field(default_factory=dict)
    requests: list[int] = field(default_factory=list)
    banned: set[int] = field(default_factory=set)
    door: str = "ask"


@dataclass
class Person:
    """Somebody: their account, their connection, and what they have heard over all their connections."""

    name: str
    account: int
    client: Client | None
    heard: list[dict[str, Any]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def collect(self) -> None:
        """Take what has come."""
        if self.client is not None:
            self.heard += [found for found in self.client.events() if "seq" in found]

    @property
    def cursor(self) -> int:
        """Up to where this one has heard everything."""
        return self.heard[-1]["seq"] if self.heard else 0


class Groups(RuleBasedStateMachine):
    """Four people, three names for groups, two instances."""

    case: ClassVar[SynchronousTestCase]

    @initialize()
    def start(self) -> None:
        """Everybody is registered, and connected here or there."""
        self.data = Path(self.case.mktemp())
        self.servers = instances(self.data, settings=settings(send_buffer_bytes=4_096, ring_bytes=20_000))
        self.people: list[Person] = []
        self.groups: dict[str, Group] = {}
        self.ticks = 0
        self.made = 0
        for index in range(PEOPLE):
            self.people.append(self.register(self.servers[index % 2]))
        self.create(0, GROUPS[0], [1, 2])
        self.create(1, GROUPS[1], [0, 3])

    def register(self, server: Server) -> Person:
        """Somebody new, who hears everything from the first event on."""
        self.made += 1
        name = f"person{self.made}"
        client = server.connect()
        welcome = client.call(do="register", name=name, password=PASSWORD, since=0)["ok"]
        return Person(name, welcome["account"], client)

    def tick(self) -> int:
        """The next moment."""
        self.ticks += 1
        return self.ticks

    # -- what people do -----------------------------------------------------------------------------------------------

    def do(self, me: int, expected: str, /, **fields: Any) -> None:
        """This call is answered as expected, after its caller has come back or read what waits."""
        person = self.people[me]
        client = self.connected(person)
        assert client.code(**fields) == expected, (person.name, fields, expected, client)

    def connected(self, person: Person, on: int = 0) -> Client:
        """This person's connection: made anew from where the last one ended, or read empty."""
        if person.client is None:
            person.client = self.servers[on].resume(person.name, since=person.cursor)
        person.client.transport.drain()
        self.servers[0].advance(0)
        person.collect()
        return person.client

    def act(self, verb: str, who: int, other: int, name: str, way: int) -> None:
        """Somebody does something to a group, or to somebody in it."""
        group = self.groups.get(name)
        if group is None and self.groups and way:
            name, group = next(iter(self.groups.items()))
        owner = 0 if group is None else max(group.roles, key=group.roles.__getitem__)
        if who == OWNER_OF:
            who = owner
        if other < 0:
            inside = set() if group is None else group.roles.keys() - {owner}
            wanted = inside if other == IN else set(range(PEOPLE)) - inside - {owner}
            other = sorted(wanted)[way % len(wanted)] if wanted else way
        match verb:
            case "create":
                self.create(who, name if way else GROUPS[-1], [other])
            case "answer_request":
                if group is not None and group.requests and way:
                    other = group.requests[0]
                self.answer_request(who, name, other, deny=way == 1)
            case "add":
                self.add(who, name, other)
            case "remove":
                self.remove(who, name, other, "kick" if way % 2 else "remove")
            case "ban":
                self.ban(who, name, other)
            case "unban":
                banned = [] if group is None else sorted(group.banned)
                self.unban(who, name, banned[0] if banned and way else other)
            case "transfer":
                self.transfer(who, name, other)
            case "promote" | "demote":
                self.rank(who, name, other, up=verb == "promote")
            case "set_door":
                self.set_door(who, name, ("open", "ask", "invite", "ask")[way])
            case "rename":
                self.rename(who, name, GROUPS[way % 2])
            case "say":
                self.say(who, name, (1, 1, 30, 900)[way])
            case "join":
                self.join(other if way else who, name)
            case "leave":
                self.leave(other if way else who, name)

    def refusal(self, who: int, name: str, needs: int) -> str | None:
        """Why a room's command that needs this role is refused to this person, if it is."""
        group = self.groups.get(name)
        if group is None:
            return "NO_GROUP"
        role = group.roles.get(who, 0)
        if role >= needs:
            return None
        return "NOT_MEMBER" if not role else "ONLY_OWNER" if role == ADMIN else "ONLY_ADMIN"

    def enter(self, group: Group, who: int, role: int = MEMBER) -> None:
        """Somebody is in."""
        group.roles[who] = role
        group.ranked[who] = self.tick()
        if who in group.requests:
            group.requests.remove(who)

    def leave_group(self, group: Group, who: int) -> None:
        """Somebody is out; the last one closes the group."""
        del group.roles[who], group.ranked[who]
        if not group.roles:
            del self.groups[group.name]

    def create(self, who: int, name: str, with_: list[int]) -> None:
        """A group is made with people in it."""
        self.do(
            who,
            "NAME_TAKEN" if name in self.groups else "ok",
            do="create",
            room=name,
            people=[self.people[other].name for other in with_],
        )
        if name not in self.groups:
            group = self.groups[name] = Group(name)
            self.enter(group, who, OWNER)
            for other in dict.fromkeys(with_):
                if other != who:
                    self.enter(group, other)

    def join(self, who: int, name: str) -> None:
        """Made, entered, asked for, or refused."""
        group = self.groups.get(name)
        expected = "ok"
        if group is None:
            group = self.groups[name] = Group(name)
            self.enter(group, who, OWNER)
        elif who in group.roles:
            pass
        elif who in group.banned:
            expected = "BANNED"
        elif group.door == "invite":
            expected = "INVITE_ONLY"
        elif group.door == "open":
            self.enter(group, who)
        elif who in group.requests:
            expected = "PENDING"
        else:
            group.requests.append(who)
        self.do(who, expected, do="join", room=name)

    def answer_request(self, who: int, name: str, other: int, deny: bool) -> None:
        """A request is approved or denied."""
        expected = self.refusal(who, name, ADMIN)
        if expected is None:
            group = self.groups[name]
            if other not in group.requests:
                expected = "NO_REQUEST"
            elif deny:
                group.requests.remove(other)
            else:
                self.enter(group, other)
        self.do(who, expected or "ok", do="deny" if deny else "approve", room=name, who=self.people[other].name)

    def add(self, who: int, name: str, other: int) -> None:
        """Somebody is put in."""
        expected = self.refusal(who, name, ADMIN)
        if expected is None:
            group = self.groups[name]
            if other in group.roles:
                expected = "ALREADY"
            elif other in group.banned:
                expected = "IS_BANNED"
            else:
                self.enter(group, other)
        self.do(who, expected or "ok", do="add", room=name, user=self.people[other].name)

    def removal(self, who: int, group: Group, other: int) -> str | None:
        """Why this one may not put out that one, if so."""
        role = group.roles.get(other, 0)
        if not role:
            return "NOT_THERE"
        if role == OWNER:
            return "OWNER_SAFE"
        return "ONLY_OWNER" if role == ADMIN and group.roles[who] != OWNER else None

    def remove(self, who: int, name: str, other: int, verb: str) -> None:
        """Somebody is put out."""
        expected = self.refusal(who, name, ADMIN)
        if expected is None:
            expected = self.removal(who, self.groups[name], other)
            if expected is None:
                self.leave_group(self.groups[name], other)
        self.do(who, expected or "ok", do=verb, room=name, user=self.people[other].name, reason="why not")

    def ban(self, who: int, name: str, other: int) -> None:
        """Somebody is put out, and kept out."""
        expected = self.refusal(who, name, ADMIN)
        if expected is None:
            group = self.groups[name]
            if other == who:
                expected = "SELF"
            elif other in group.banned:
                expected = "IS_BANNED"
            elif other in group.roles:
                expected = self.removal(who, group, other)
                if expected is None:
                    self.leave_group(group, other)
            if expected is None:
                group.banned.add(other)
                if other in group.requests:
                    group.requests.remove(other)
        self.do(who, expected or "ok", do="ban", room=name, user=self.people[other].name)

    def unban(self, who: int, name: str, other: int) -> None:
        """Somebody may come again."""
        expected = self.refusal(who, name, ADMIN)
        if expected is None:
            banned = self.groups[name].banned
            expected = None if other in banned else "NOT_BANNED"
            banned.discard(other)
        self.do(who, expected or "ok", do="unban", room=name, user=self.people[other].name)

    def leave(self, who: int, name: str) -> None:
        """Somebody goes by themselves."""
        expected = self.refusal(who, name, MEMBER)
        if expected is None:
            group = self.groups[name]
            if group.roles[who] == OWNER and len(group.roles) > 1:
                expected = "OWNER_STAYS"
            else:
                self.leave_group(group, who)
        self.do(who, expected or "ok", do="leave", room=name)

    def transfer(self, who: int, name: str, other: int) -> None:
        """The group is given away."""
        expected = self.refusal(who, name, OWNER)
        if expected is None:
            group = self.groups[name]
            expected = "NOT_THERE" if other not in group.roles else "SAME_ROLE" if other == who else None
            if expected is None:
                group.roles |= {who: MEMBER, other: OWNER}
                group.ranked |= dict.fromkeys((who, other), self.tick())
        self.do(who, expected or "ok", do="transfer", room=name, user=self.people[other].name)

    def rank(self, who: int, name: str, other: int, up: bool) -> None:
        """Somebody is made an admin, or an ordinary member again."""
        expected = self.refusal(who, name, OWNER)
        if expected is None:
            group = self.groups[name]
            role = group.roles.get(other, 0)
            wanted = ADMIN if up else MEMBER
            if not role:
                expected = "NOT_THERE"
            elif role == OWNER:
                expected = "SAME_ROLE" if up else "OWNER_STAYS"
            elif role == wanted:
                expected = "SAME_ROLE"
            else:
                group.roles[other] = wanted
                group.ranked[other] = self.tick()
        self.do(who, expected or "ok", do="promote" if up else "demote", room=name, user=self.people[other].name)

    def set_door(self, who: int, name: str, door: str) -> None:
        """Who may enter is set."""
        expected = self.refusal(who, name, ADMIN)
        if expected is None:
            self.groups[name].door = door
        self.do(who, expected or "ok", do="door", room=name, door=door)

    def rename(self, who: int, name: str, other: str) -> None:
        """The group has another name."""
        expected = self.refusal(who, name, OWNER)
        if expected is None:
            expected = "NAME_TAKEN" if other in self.groups else None
            if expected is None:
                group = self.groups[other] = self.groups.pop(name)
                group.name = other
        self.do(who, expected or "ok", do="rename", room=name, name=other)

    def say(self, who: int, name: str, length: int) -> None:
        """Something is said: the members of that moment hear it, and nobody else."""
        text = f"{self.tick()} " + "x" * length
        expected = self.refusal(who, name, MEMBER)
        if expected is None:
            for other in self.groups[name].roles:
                self.people[other].texts.append(text)
        self.do(who, expected or "ok", do="say", room=name, text=text)

    @rule(name=groups)
    def everybody_says(self, name: str) -> None:
        """All who are connected say something, whether they may or not."""
        for who, person in enumerate(self.people):
            if person.client is not None:
                self.say(who, name, 1)

    @rule(who=people, other=people)
    def tell(self, who: int, other: int) -> None:
        """Something is said to one person."""
        text = f"{self.tick()} direct"
        if who != other:
            for one in (who, other):
                self.people[one].texts.append(text)
        self.do(who, "SELF" if who == other else "ok", do="msg", user=self.people[other].name, text=text)

    # -- how they come and go -----------------------------------------------------------------------------------------

    @rule(who=people, clean=st.booleans())
    def disconnect(self, who: int, clean: bool) -> None:
        """A connection ends, or breaks."""
        person = self.people[who]
        if person.client is not None:
            person.collect()
            if clean:
                person.client.lose()
            else:
                person.client.cut()
            person.client = None

    @rule(who=people, on=st.integers(0, 1))
    def reconnect(self, who: int, on: int) -> None:
        """Somebody comes back, here or there, with the place up to which they heard."""
        self.connected(self.people[who], on)

    @rule(who=people)
    def stop_reading(self, who: int) -> None:
        """A connection is not read for a while."""
        person = self.people[who]
        if person.client is not None:
            person.client.transport.stick()

    @rule(seconds=st.sampled_from([1, 6]))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.servers[0].advance(seconds)

    @rule(on=st.integers(0, 1))
    def forget_the_ring(self, on: int) -> None:
        """An instance has heard so much that nothing of before is in its memory."""
        self.servers[on].feed._ring.clear()
        self.servers[on].feed._ring_size = 0

    @precondition(lambda self: self.made < PEOPLE + 3)
    @rule(who=people)
    def delete_account(self, who: int) -> None:
        """Somebody's account goes: the highest and longest-serving inherits; somebody new takes the place."""
        for group in list(self.groups.values()):
            if who in group.roles:
                was = group.roles[who]
                self.leave_group(group, who)
                if was == OWNER and group.roles:
                    heir = min(group.roles, key=lambda other: (-group.roles[other], group.ranked[other]))
                    group.roles[heir] = OWNER
                    group.ranked[heir] = self.tick()
            if who in group.requests:
                group.requests.remove(who)
            group.banned.discard(who)
        self.do(who, "ok", do="delete-account", password=PASSWORD)
        self.people[who] = self.register(self.servers[self.made % 2])

    # -- what holds ---------------------------------------------------------------------------------------------------

    @invariant()
    def roles_agree(self) -> None:
        """The database has the model's groups, members, roles, requests and bans."""
        if not hasattr(self, "people"):
            return
        by_account = {person.account: index for index, person in enumerate(self.people)}
        server = self.servers[0]
        found: dict[str, Group] = {name: Group(name, door=door) for name, door in server.sql(
            "SELECT name, door FROM room WHERE kind = 'group' AND name IS NOT NULL"
        )}  # fmt: skip
        for name, account, role in server.sql(
            "SELECT r.name, m.account, m.role FROM member m JOIN room r ON r.id = m.room"
            " WHERE r.kind = 'group' AND m.until IS NULL"
        ):
            found[name].roles[by_account[account]] = role
        for name, account in server.sql("SELECT r.name, q.account FROM request q JOIN room r ON r.id = q.room"):
            found[name].requests.append(by_account[account])
        for name, account in server.sql("SELECT r.name, b.account FROM ban b JOIN room r ON r.id = b.room"):
            if name is not None:
                found[name].banned.add(by_account[account])
        assert found.keys() == self.groups.keys()
        for name, group in self.groups.items():
            there = found[name]
            assert there.roles == group.roles, name
            assert (set(there.requests), there.banned, there.door) == (set(group.requests), group.banned, group.door)
            assert list(group.roles.values()).count(OWNER) == 1

    def teardown(self) -> None:
        """Everybody comes back and reads: what they heard live is what the log has for them, and the model."""
        if not hasattr(self, "people"):
            return
        try:
            for person in self.people:
                self.connected(person)
            for person in self.people:
                person.collect()
                said = [event["text"] for event in person.heard if event["ev"] == "say"]
                assert said == person.texts, person.name
                replay = self.servers[1].resume(person.name, since=0)
                assert list(map(lasting, replay.events())) == list(map(lasting, person.heard)), person.name
        finally:
            for server in reversed(self.servers):
                server.stop()
            shutil.rmtree(self.data)
        assert self.case.flushLoggedErrors() == []


for copy in range(8):  # of the rules Hypothesis leaves out some in each game, and takes the others equally often
    acts = rule(verb=st.sampled_from(VERBS), who=callers, other=others, name=groups, way=st.integers(0, 3))
    setattr(Groups, f"act_{copy}", acts(Groups.act))


def lasting(event: dict[str, Any]) -> dict[str, Any]:
    """Of an event what does not change when a room is renamed or an account deleted."""
    return {name: value for name, value in event.items() if name not in ("room", "by", "who")}


class ModelTests(SynchronousTestCase):
    """Groups against the model."""

    def test_groups(self) -> None:
        """Whatever people do: roles and members agree, everybody hears what they may and nothing else, and live routing
        and catch-up are the same.
        """

        class Game(Groups):
            case = self

        games = hypothesis_settings(
            max_examples=25, stateful_step_count=50, derandomize=True, database=None, deadline=None
        )
        run_state_machine_as_test(Game, settings=games)  # type: ignore[no-untyped-call]
