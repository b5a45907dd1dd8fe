"""Sealed groups against a model: whatever people sign, the log that the server keeps makes the members that it has."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from chatd.model import Role
from chatd.rules import may_leave, may_remove
from tests.memory import Client, Server
from tests.sealing import Chain, Keys, body, envelopes, equip, found

NAMES = ("alice", "bob", "carol", "dave")
WAYS = ("right", "right", "right", "stale", "forged", "none", "another")
people = st.integers(0, len(NAMES) - 1)


class Sealed(RuleBasedStateMachine):
    """#deep, and four people who do to it whatever they like, signed rightly or wrongly."""

    case: SynchronousTestCase

    @initialize()
    def begin(self) -> None:
        """alice makes it, with bob in it."""
        self.data = Path(tempfile.mkdtemp())
        self.server = Server(self.data)
        self.clients = [self.server.program(name) for name in NAMES]
        self.keys = [equip(client) for client in self.clients]
        self.room, self.chain = found(self.clients[0], self.keys[0], "#deep", [self.keys[1]])
        self.roles = {0: Role.OWNER, 1: Role.MEMBER}
        self.old = Chain(self.chain.room)

    def sign(self, who: int, action: str, other: int | None, way: str) -> tuple[list[str], str]:
        """The proofs of a call, and the code of what is wrong with them."""
        target, key = (0, bytes(32)) if other is None else (self.keys[other].account, self.keys[other].public)
        keys, chain = self.keys[who], self.chain
        match way:
            case "none":
                return [], "BAD_PROOF"
            case "stale":
                return [self.old.entry(keys, action, target, key)], "STALE"
            case "forged":
                stranger = Keys(keys.account)
                stranger.devices[0].raw = keys.devices[0].raw
                return [chain.entry(stranger, action, target, key)], "BAD_PROOF"
            case "another":
                return [chain.entry(keys, action, target + 1, key)], "BAD_PROOF"
        return [chain.entry(keys, action, target, key)], "ok"

    def do(self, who: int, verb: str, action: str, other: int | None, way: str, refusal: str | None) -> bool:
        """A call, and what it is answered with; whether it was done."""
        proofs, expected = self.sign(who, action, other, way)
        fields: dict[str, Any] = {"do": verb, "room": "#deep", "proofs": proofs}
        if other is not None:
            fields["user"] = NAMES[other]
        answer = self.clients[who].call(**fields)
        code = answer["error"]["code"] if "error" in answer else "ok"
        assert code == (refusal or expected), (verb, way, answer)
        if code == "ok":
            self.chain.took(proofs[0])
        return code == "ok"

    def lacks(self, who: int, least: Role) -> str | None:
        """Why this person may not do what takes so much, if so."""
        role = self.roles.get(who, Role.NONE)
        if role >= least:
            return None
        return "NOT_MEMBER" if not role else "ONLY_OWNER" if role is Role.ADMIN else "ONLY_ADMIN"

    @rule(who=people, other=people, way=st.sampled_from(WAYS))
    def add(self, who: int, other: int, way: str) -> None:
        """Somebody is put in."""
        refusal = self.lacks(who, Role.ADMIN) or ("ALREADY" if other in self.roles else None)
        if self.do(who, "add", "add", other, way, refusal):
            self.roles[other] = Role.MEMBER

    @rule(who=people, other=people, way=st.sampled_from(WAYS))
    def kick(self, who: int, other: int, way: str) -> None:
        """Somebody is put out."""
        refusal = self.lacks(who, Role.ADMIN)
        if refusal is None:
            there = other in self.roles
            refusal = may_remove(self.roles[who], self.roles[other]) if there else "NOT_THERE"
        if self.do(who, "kick", "remove", other, way, refusal):
            del self.roles[other]

    @rule(who=people, other=people, way=st.sampled_from(WAYS), up=st.booleans())
    def rank(self, who: int, other: int, way: str, up: bool) -> None:
        """Somebody is made an admin, or a member again."""
        refusal, role = self.lacks(who, Role.OWNER), self.roles.get(other)
        wanted = Role.ADMIN if up else Role.MEMBER
        if refusal is None and role is None:
            refusal = "NOT_THERE"
        elif refusal is None and role is Role.OWNER:
            refusal = "SAME_ROLE" if up else "OWNER_STAYS"
        elif refusal is None and role is wanted:
            refusal = "SAME_ROLE"
        verb = "promote" if up else "demote"
        if self.do(who, verb, verb, other, way, refusal):
            self.roles[other] = wanted

    @rule(who=people, other=people, way=st.sampled_from(WAYS))
    def transfer(self, who: int, other: int, way: str) -> None:
        """The group is given away."""
        refusal = self.lacks(who, Role.OWNER)
        if refusal is None:
            refusal = "NOT_THERE" if other not in self.roles else "SAME_ROLE" if other == who else None
        if self.do(who, "transfer", "transfer", other, way, refusal):
            self.roles |= {who: Role.MEMBER, other: Role.OWNER}

    @rule(who=people, way=st.sampled_from(WAYS))
    def leave(self, who: int, way: str) -> None:
        """Somebody goes; the last one stays, so that there is a group."""
        role = self.roles.get(who, Role.NONE)
        if len(self.roles) == 1 and role:
            return
        if self.do(who, "leave", "leave", None, way, may_leave(role, len(self.roles) - 1)):
            del self.roles[who]

    @rule(who=people, stale=st.booleans(), less=st.booleans(), more=st.booleans())
    def say(self, who: int, stale: bool, less: bool, more: bool) -> None:
        """Something is said: each other member's device gets its envelope, nobody else anything."""
        for client in self.clients:
            client.events()
        to = [other for other in self.roles if other != who]
        left, to = (to[:1], to[1:]) if less else ([], to)
        extra = [other for other in range(len(NAMES)) if other not in self.roles][:1] if more else []
        head = bytes(32) if stale else self.chain.head
        letters = envelopes(*(self.keys[other].devices[0] for other in (*to, *extra)))
        code = self.clients[who].code(do="say", room=self.room, sealed=body(head), envelopes=letters)
        wrong = stale or bool(left) or bool(extra)
        assert code == ("NOT_MEMBER" if who not in self.roles else "STALE" if wrong else "ok"), code
        for number, client in enumerate(self.clients):
            came = [line["ev"] for line in client.events()]
            wanted = (
                [] if code != "ok" or number not in self.roles else ["say"] if number == who else ["envelope", "say"]
            )
            assert came == wanted, (number, came)

    @invariant()
    def the_log_makes_the_members(self) -> None:
        """The database has the model's roles, and the log's newest entry is the last one that was signed rightly."""
        if not hasattr(self, "server"):
            return
        rows = self.server.sql("SELECT account, role FROM member WHERE room = ? AND until IS NULL", self.room)
        assert dict(rows) == {self.keys[who].account: int(role) for who, role in self.roles.items()}
        someone: Client = self.clients[next(iter(self.roles))]
        log = someone.call(do="roomlog", room=self.room)["ok"]
        assert len(log["log"]) == log["entries"] == self.chain.entries

    def teardown(self) -> None:
        """The file is sound, and nothing broke."""
        if hasattr(self, "server"):
            self.server.stop()
            shutil.rmtree(self.data)
        assert self.case.flushLoggedErrors() == []


class ModelTests(SynchronousTestCase):
    """Sealed groups against the model."""

    def test_sealed_groups(self) -> None:
        """Whatever people sign, rightly or wrongly: roles, log and envelopes are those of the model."""

        class Game(Sealed):
            case = self

        games = hypothesis_settings(
            max_examples=12, stateful_step_count=40, derandomize=True, database=None, deadline=None
        )
        run_state_machine_as_test(Game, settings=games)  # type: ignore[no-untyped-call]
