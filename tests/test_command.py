"""The table of commands: how a usage line is read, how a typed line is bound to it, and what is checked from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatd import command
from chatd.command import ALIASES, TABLE, Arg, bind, check_fields, lookup, parse_usage, table
from chatd.errors import Refusal
from chatd.model import Ask, Call, Reply
from chatd.rules import Needs
from tests.ops import World

TYPED: dict[str, list[tuple[str, dict[str, Any], str | None]]] = {
    "ack": [("/ack 812", {"seq": "812"}, None)],
    "add": [("/add bob", {"user": "bob"}, None), ("/add #ops bob", {"user": "bob"}, "#ops")],
    "admins": [("/admins", {}, None), ("/7 #ops", {}, "#ops")],
    "approve": [
        ("/approve bob", {"who": "bob"}, None),
        ("/2 #ops all", {"who": "all"}, "#ops"),
        ("/approve #ops", {}, "#ops"),
        ("/2", {}, None),
    ],
    "away": [("/away", {}, None), ("/away at  lunch ", {"text": "at  lunch"}, None)],
    "ban": [("/ban #ops bob too loud", {"user": "bob", "reason": "too loud"}, "#ops")],
    "bans": [("/bans", {}, None)],
    "bind": [("/bind AAAA", {"device": "AAAA"}, None)],
    "census": [("/census", {}, None)],
    "cert": [("/cert add 00", {"what": "add", "which": "00"}, None), ("/cert", {}, None)],
    "claim": [("/claim", {}, None)],
    "close": [("/close", {}, None)],
    "create": [
        ("/create", {}, None),
        ("/create #friends bob carol", {"room": "#friends", "people": ["bob", "carol"]}, None),
        ("/create #x bob,carol, dave", {"room": "#x", "people": ["bob", "carol", "dave"]}, None),
        ("/create --sealed #x", {"sealed": True, "room": "#x"}, None),
        ("/create #x bob --open carol", {"open": True, "room": "#x", "people": ["bob", "carol"]}, None),
    ],
    "delete-account": [("/delete-account", {}, None)],
    "demote": [("/demote bob", {"user": "bob"}, None)],
    "deny": [
        ("/deny bob not now", {"who": "bob", "reason": "not now"}, None),
        ("/deny", {}, None),
    ],
    "directory": [("/directory", {}, None)],
    "dm": [
        ("/dm bob", {"user": "bob"}, None),
        ("/dm @bob", {"user": "@bob"}, None),
        ("/dm", {}, None),
        ("/dm --open bob", {"open": True, "user": "bob"}, None),
    ],
    "link": [("/link AAAA BBBB", {"device": "AAAA", "entry": "BBBB"}, None)],
    "links": [("/links", {}, None)],
    "manifest": [("/manifest bob 3", {"user": "bob", "since": "3"}, None)],
    "manifests": [("/manifests bob carol", {"people": ["bob", "carol"]}, None)],
    "post": [("/post", {}, None)],
    "publish": [("/publish AAAA", {"manifest": "AAAA"}, None)],
    "received": [("/received 57", {"n": "57"}, None)],
    "recipients": [("/recipients #ops", {}, "#ops")],
    "roomlog": [("/roomlog #ops 3", {"room": "#ops", "since": "3"}, None)],
    "stock": [("/stock AAAA", {"fallback": "AAAA"}, None)],
    "vault": [("/vault AAAA", {"blob": "AAAA"}, None)],
    "door": [("/door", {}, None), ("/door #ops open", {"door": "open"}, "#ops")],
    "files": [("/files", {}, None)],
    "get": [("/get 17", {"file": "17"}, None)],
    "external": [("/external bob", {"name": "bob"}, None)],
    "groups": [("/groups", {}, None)],
    "guest": [("/guest bob", {"name": "bob"}, None)],
    "hello": [("/hello", {}, None)],
    "help": [("/help", {}, None), ("/help /kick", {"command": "/kick"}, None)],
    "history": [
        ("/history", {}, None),
        ("/history 20", {"count": "20"}, None),
        ("/history #ops since 2h", {"since": "2h"}, "#ops"),
        (
            "/history on 2026-11-01 20 before 812 since 3d",
            {"count": "20", "since": "3d", "before": "812", "on": "2026-11-01"},
            None,
        ),
        ("/history SINCE 2h", {"since": "2h"}, None),
        ("/history since", {"count": "since"}, None),
    ],
    "image": [("/image cat.png a cat", {"path": "cat.png", "caption": "a cat"}, None)],
    "join": [("/join #ops", {"room": "#ops"}, None), ("/join ops", {"room": "ops"}, None)],
    "kick": [
        ("/kick bob", {"user": "bob"}, None),
        ("/8 bob  too  loud", {"user": "bob", "reason": "too  loud"}, None),
        ("/kick #ops bob spam", {"user": "bob", "reason": "spam"}, "#ops"),
        ("/kick #ops", {}, "#ops"),
        ("/kick bob #1 reason", {"user": "bob", "reason": "#1 reason"}, None),
    ],
    "leave": [("/leave", {}, None), ("/leave #ops", {}, "#ops")],
    "login": [("/login bob secret", {"name": "bob", "password": "secret"}, None)],
    "logout": [("/logout 2", {"which": "2"}, None)],
    "members": [("/members #ops", {}, "#ops"), ("/4", {}, None)],
    "menu": [("/menu", {}, None)],
    "msg": [("/msg bob hi there", {"user": "bob", "text": "hi there"}, None), ("/msg bob", {"user": "bob"}, None)],
    "online": [("/5", {}, None)],
    "password": [("/password", {}, None)],
    "totp": [("/totp", {}, None), ("/totp on", {"state": "on"}, None)],
    "oper": [("/oper root secret", {"name": "root", "password": "secret"}, None)],
    "export": [("/export #ops 12", {"after": "12"}, "#ops"), ("/export", {}, None)],
    "retention": [("/retention #ops 30d 500", {"keep": "30d 500"}, "#ops"), ("/retention", {}, None)],
    "past": [("/past #ops latest", {"way": "latest"}, "#ops")],
    "ping": [("/ping", {}, None), ("/ping x", {"token": "x"}, None)],
    "promote": [("/promote bob", {"user": "bob"}, None)],
    "quit": [("/quit", {}, None), ("/3", {}, None)],
    "register": [("/register bob", {"name": "bob"}, None)],
    "remove": [("/remove bob", {"user": "bob"}, None)],
    "rename": [
        ("/rename #dev", {"name": "#dev"}, None),
        ("/rename #ops #dev", {"name": "#dev"}, "#ops"),
        ("/rename dev", {"name": "dev"}, None),
    ],
    "requests": [("/1", {}, None), ("/requests #ops", {}, "#ops")],
    "roster": [("/roster #ops", {}, "#ops")],
    "say": [("/say #ops hi  there", {"text": "hi  there"}, "#ops"), ("/say hi", {"text": "hi"}, None)],
    "search": [("/search two words", {"words": "two words"}, None)],
    "seen": [("/seen #ops", {}, "#ops")],
    "send": [("/9 my report.pdf", {"path": "my report.pdf"}, None)],
    "sessions": [("/sessions", {}, None)],
    "stats": [("/stats", {}, None)],
    "talks": [("/talks 1 2 3", {"since": "1", "until": "2", "count": "3"}, None)],
    "topic": [("/topic", {}, None), ("/topic #ops all about it", {"text": "all about it"}, "#ops")],
    "transfer": [("/6 bob", {"user": "bob"}, None), ("/transfer #ops bob", {"user": "bob"}, "#ops")],
    "unban": [("/unban bob", {"user": "bob"}, None)],
    "marker": [("/marker #ops", {}, "#ops"), ("/marker 17", {"time": "17"}, None)],
    "monitor": [("/monitor bob carol", {"people": ["bob", "carol"]}, None), ("/monitor", {}, None)],
    "nick": [("/nick flora", {"name": "flora"}, None)],
    "who": [("/who b*", {"mask": "b*"}, None)],
    "cancel": [("/cancel 3", {"file": "3"}, None)],
    "quota": [("/quota #ops", {}, "#ops")],
    "download": [("/download 3", {"file": "3"}, None)],
    "upload": [("/upload #ops 5", {"size": "5"}, "#ops")],
    "typing": [("/typing #ops", {}, "#ops")],
    "vanish": [("/vanish good bye", {"reason": "good bye"}, None)],
    "watch": [("/watch", {}, None)],
    "whereami": [("/whereami", {}, None)],
    "whoami": [("/whoami", {}, None)],
    "whois": [("/whois bob", {"user": "bob"}, None)],
}
"""By command: what is typed, and the arguments and the room it is bound to."""


def typed(line: str) -> Call:
    """A line as the dialect for people hands it in."""
    name, _, rest = line[1:].partition(" ")
    return bind(name, rest)


class UsageTests(SynchronousTestCase):
    """The usage line is the parser."""

    def test_shapes(self) -> None:
        """Words, the rest of the line, lists, keyworded arguments and flags."""
        self.assertEqual(
            parse_usage("/x [--open|--all-of-it] <room> [user] [people...] [reason...] [since AGE]"),
            (
                "x",
                (
                    Arg("open", "flag", False),
                    Arg("all_of_it", "flag", False),
                    Arg("room", "word", True),
                    Arg("user", "word", False),
                    Arg("people", "list", False),
                    Arg("reason", "rest", False),
                    Arg("since", "keyword", False),
                ),
            ),
        )
        self.assertEqual(parse_usage("/x"), ("x", ()))
        self.assertEqual(parse_usage("/x <words...>"), ("x", (Arg("words", "rest", True),)))

    def test_unreadable(self) -> None:
        """A usage line that says anything else is a mistake at import."""
        for usage in ("/x user", "/x <user", "/x [Since age]", "/x <user> or nothing"):
            self.assertRaises(ValueError, parse_usage, usage)


class DeclarationTests(SynchronousTestCase):
    """What is wrong with a command shows when it is imported."""

    def declare(self, usage: str, doc: str | None, *aliases: str) -> None:
        """Try to put a command in the table."""

        def run() -> None: ...

        run.__doc__ = doc
        before = dict(TABLE), dict(ALIASES)
        try:
            command.command(usage, topic="Also", aliases=aliases)(run)
        finally:
            self.assertEqual((TABLE, ALIASES), before, "a refused declaration leaves the table as it was")

    def test_declared_twice(self) -> None:
        """Two commands cannot have one name, nor one alias, nor one the other's."""
        for usage, aliases in (("/kick <user>", ()), ("/8", ()), ("/new", ("/kick",)), ("/new", ("/8",))):
            self.assertRaises(ValueError, self.declare, usage, "Help.", *aliases)

    def test_no_docstring(self) -> None:
        """The docstring is the help text: there must be one."""
        self.assertRaises(ValueError, self.declare, "/new", None)
        self.assertRaises(ValueError, self.declare, "/new", "")


class TableTests(SynchronousTestCase):
    """The table as it is."""

    def test_every_command_is_tested(self) -> None:
        """Each command has a typed line here."""
        self.assertEqual(TYPED.keys(), TABLE.keys())

    def test_numbers(self) -> None:
        """The numbers are T's, and there is one numbering only (rows 18-26, 55)."""
        self.assertEqual(
            {alias: verb for alias, verb in ALIASES.items() if alias.isdecimal()},
            {
                "1": "requests",
                "2": "approve",
                "3": "quit",
                "4": "members",
                "5": "online",
                "6": "transfer",
                "7": "admins",
                "8": "kick",
                "9": "send",
            },
        )

    def test_for_programs(self) -> None:
        """What `hello` sends has a row for each command, with its arguments as fields."""
        rows = {row["do"]: row for row in table()}
        self.assertEqual(rows.keys(), TABLE.keys())
        self.assertEqual(
            rows["kick"],
            {
                "do": "kick",
                "usage": "/kick <user> [reason...]",
                "aliases": ["/8"],
                "needs": "admin",
                "topic": "Admin",
                "help": TABLE["kick"].help,
                "example": "/kick bob spam",
                "args": [
                    {"name": "user", "shape": "word", "required": True},
                    {"name": "reason", "shape": "rest", "required": False},
                ],
            },
        )

    def test_examples_are_right(self) -> None:
        """Each example is a line that binds to its own command, and lacks nothing."""
        for entry in TABLE.values():
            if entry.example:
                call = typed(entry.example)
                self.assertEqual(call.verb, entry.verb, entry.example)
                needed = {arg.name for arg in entry.args if arg.required}
                self.assertLessEqual(needed, call.args.keys(), entry.example)

    def test_only_talking_is_light(self) -> None:
        """Only `say` may be pipelined (DESIGN §4); what reads or needs no database never is."""
        self.assertEqual([entry.verb for entry in TABLE.values() if entry.light], ["say"])
        for entry in TABLE.values():
            self.assertLessEqual(entry.read + entry.local + entry.light, 1, entry.verb)

    def test_a_sign_for_every_need(self) -> None:
        """Whoever is not logged in has the door's commands only."""
        free = {entry.verb for entry in TABLE.values() if entry.needs is Needs.NOTHING}
        self.assertEqual(
            free, {"register", "login", "external", "hello", "guest", "quit", "ping", "census", "help", "menu"}
        )


class BindTests(SynchronousTestCase):
    """A typed line becomes a call."""

    def test_lines(self) -> None:
        """Each command's lines are bound as its usage says."""
        for verb, cases in TYPED.items():
            for line, args, room in cases:
                call = typed(line)
                self.assertEqual((call.verb, dict(call.args), call.room), (verb, args, room), line)

    def test_bound_lines_are_valid_fields(self) -> None:
        """What a typed line binds to, a program might send."""
        for verb, cases in TYPED.items():
            for _, args, _ in cases:
                check_fields(TABLE[verb], args)

    def test_too_much(self) -> None:
        """More than the usage takes, or a flag that it has not, is answered with the usage."""
        for line in (
            "/leave now please",
            "/members #ops x",
            "/whois bob carol",
            "/door open wide",
            "/create --seald #x bob",
            "/create #x --other",
            "/dm --seald bob",
            "/delete-account --eras",
        ):
            with self.assertRaises(Refusal) as caught:
                typed(line)
            self.assertEqual(caught.exception.code, "BAD_USAGE")
            self.assertEqual(caught.exception.fields, {"usage": TABLE[typed(line.split()[0]).verb].usage})

    def test_unknown(self) -> None:
        """An unknown command has the nearest beside it that /help lists; the aliases of digits are nobody's
        neighbours.
        """
        near_to = {
            "aprove": "/approve",
            "qiut": "/quit",
            "10": "",
            "": "",
            "xyzzy": "",
            "list": "",
            "wach": "",
            "clear": "",
        }
        for name, near in near_to.items():
            with self.assertRaises(Refusal) as caught:
                bind(name, "bob")
            self.assertEqual(caught.exception.code, "UNKNOWN_CMD")
            self.assertEqual(caught.exception.fields, {"command": f"/{name}", "near": near})

    def test_aliases(self) -> None:
        """An alias is the command."""
        for alias, verb in ALIASES.items():
            self.assertIs(lookup(alias), TABLE[verb])

    @given(st.text(max_size=60), st.sampled_from(sorted({*TYPED, "1", "9"})))
    def test_any_line(self, line: str, name: str) -> None:
        """Whatever is typed behind a command is bound or refused, and nothing else happens."""
        try:
            call = bind(name, line)
        except Refusal as refusal:
            self.assertEqual(refusal.code, "BAD_USAGE")
        else:
            check_fields(TABLE[call.verb], call.args)


class FieldTests(SynchronousTestCase):
    """What a program sends is checked for form."""

    def test_types(self) -> None:
        """Words are text or numbers, lists are lists of those, flags are true or false; nothing else is taken."""
        good: list[tuple[str, dict[str, Any]]] = [
            ("kick", {"user": "bob", "reason": "x"}),
            ("kick", {"user": 17}),
            ("create", {"room": "#x", "people": ["bob", 17], "sealed": True, "open": False}),
            ("create", {"room": "#x", "people": []}),
            ("history", {"count": 20, "since": "2h"}),
            ("say", {"text": "x", "sealed": "AAAA"}),
        ]
        bad: list[tuple[str, dict[str, Any]]] = [
            ("kick", {"user": None}),
            ("kick", {"user": True}),
            ("kick", {"user": 1.5}),
            ("kick", {"user": ["bob"]}),
            ("kick", {"user": {}}),
            ("kick", {"who": "bob"}),
            ("create", {"people": "bob"}),
            ("create", {"people": [True]}),
            ("create", {"people": [None]}),
            ("create", {"people": [["bob"]]}),
            ("create", {"sealed": 1}),
            ("create", {"sealed": "yes"}),
            ("menu", {"x": 1}),
        ]
        for verb, args in good:
            check_fields(TABLE[verb], args)
        for verb, args in bad:
            with self.assertRaises(Refusal, msg=str(args)) as caught:
                check_fields(TABLE[verb], args)
            self.assertEqual(caught.exception.code, "BAD_USAGE")


class PerformTests(SynchronousTestCase):
    """What is checked from the table before an operation runs."""

    def setUp(self) -> None:
        self.world = World(Path(self.mktemp()))
        self.addCleanup(self.world.close)
        self.alice, self.bob = self.world.people("alice", "bob")
        self.alice.type("/create #ops bob")

    def test_what_is_missing_is_asked_for(self) -> None:
        """The first missing argument is asked for, by the command's and its own name."""
        for verb, field in (("dm", "user"), ("msg", "user"), ("join", "room"), ("create", "room"), ("search", "words")):
            ask = self.alice.call(verb, "#ops" if TABLE[verb].about_room else None)
            assert isinstance(ask, Ask)
            self.assertEqual((ask.field, ask.prompt), (field, f"{verb}.{field}"))
        ask = self.alice.call("msg", user="bob")
        assert isinstance(ask, Ask)
        self.assertEqual(ask.field, "text")

    def test_empty_is_missing(self) -> None:
        """An empty text is no argument."""
        self.assertIsInstance(self.alice.call("dm", user=""), Ask)

    def test_current_room(self) -> None:
        """A room that is not named is the current one; a named one comes first."""
        self.alice.ok("create", room="#x")
        self.assertEqual(self.alice.type("/members"), ["#x 1: alice (owner)"])
        self.assertEqual(self.alice.type("/members #ops"), ["#ops 2: alice (owner) bob"])
        self.assertEqual(self.alice.type("/members #qqq"), ["No such group: #qqq."])
        self.assertEqual(self.alice.type("/members #a/b")[0], '"#a/b" cannot be the name of a group.')

    def test_persons_are_looked_up(self) -> None:
        """An argument called user is an account: by name, with or without @, in any case, or by id."""
        for user in ("bob", "@bob", "BOB", "@Bob", self.bob.id):
            self.assertEqual(self.alice.ok("whois", user=user)["account"], self.bob.id)

    def test_refused_means_unchanged(self) -> None:
        """A refusal in the middle of an operation takes everything back, in the log and in the tables."""
        newest = self.world.log()[-1].seq
        with self.assertRaises(ZeroDivisionError):
            self.world.write(lambda tx: (tx.append("topic", 1, 1), tx.set_topic(1, "x"), 1 / 0))
        self.assertEqual(self.world.log()[-1].seq, newest)
        self.assertEqual(self.alice.type("/topic #ops"), ["#ops has no topic."])

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_whatever_a_program_sends(self, data: st.DataObject) -> None:
        """Every command with any fields of the right form is answered or refused; nothing breaks."""
        verb = data.draw(st.sampled_from(sorted(name for name in TABLE if TABLE[name].prepare is None)))
        entry = TABLE[verb]
        word = st.one_of(
            st.sampled_from(["bob", "alice", "#ops", "#new", "@bob", "all", "-", "open", "0", "1", "2h", "2026-11-01"]),
            st.text(max_size=40),
            st.integers(-(1 << 63), (1 << 63) - 1),
            st.sampled_from([self.alice.id, self.bob.id, 1, 2, 3, 4]),
        )
        values = {
            "word": word,
            "rest": word,
            "keyword": word,
            "list": st.lists(word, max_size=4),
            "flag": st.booleans(),
            "map": st.dictionaries(st.text(max_size=40), st.text(max_size=40), max_size=3),
        }
        fields = {
            name: data.draw(values[shape])
            for name, shape in entry.shapes.items()
            if name != "confirmed" and data.draw(st.booleans())
        }
        room = data.draw(st.one_of(st.none(), word)) if entry.about_room else None
        check_fields(entry, fields)
        who = data.draw(st.sampled_from([self.alice, self.bob]))
        outcome = who.call(verb, room, None, **fields)
        self.assertIsInstance(outcome, Reply | Ask | Refusal)
