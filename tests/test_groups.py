"""Groups: every operation and every refusal, with what each person then sees, without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatd.model import Ask, Door, Reply, Role
from tests.ops import AT, Person, World

NOT_IN = ["You are not in #ops. /join #ops"]


class Base(SynchronousTestCase):
    """alice, bob, carol and dave, and no group yet."""

    def setUp(self) -> None:
        self.world = World(Path(self.mktemp()))
        self.addCleanup(self.world.close)
        self.alice, self.bob, self.carol, self.dave = self.world.people("alice", "bob", "carol", "dave")
        self.everybody = [self.alice, self.bob, self.carol, self.dave]

    def quiet(self) -> None:
        """Everybody has read what there was."""
        for person in self.everybody:
            person.hears()

    def role(self, person: Person, room: str = "#ops") -> Role:
        """What somebody is in a group now."""

        def read(tx: Any) -> Role:
            group = tx.group(room)
            return Role.NONE if group is None else tx.role(group.id, person.id)

        found: Role = self.world.read(read)
        return found

    def unchanged(self, person: Person, line: str, *lines: str) -> None:
        """This line is refused with these words, nothing is in the log, and nobody hears anything."""
        newest = self.world.log()[-1].seq
        self.assertEqual(person.type(line), list(lines), line)
        self.assertEqual(self.world.log()[-1].seq, newest, line)


class OpsBase(Base):
    """#ops is alice's; bob is an admin of it and carol a member; dave is outside. It is current for all three."""

    def setUp(self) -> None:
        super().setUp()
        self.alice.type("/create #ops bob carol")
        self.ops = self.alice.room
        self.bob.room = self.carol.room = self.ops
        self.alice.type("/promote bob")
        self.quiet()


class CreateTests(Base):
    """Making a group (rows 15 and 16)."""

    def test_with_people(self) -> None:
        """The maker is told who was added and who does not exist; the added ones see who did it (row 15)."""
        self.assertEqual(
            self.alice.type("/create #friends bob carol dvae"),
            ["#friends created. You are admin. Added bob, carol. No such person: dvae.", "Now in #friends (admin)."],
        )
        self.assertEqual(self.bob.hears(), ["alice added you to #friends.", "alice added carol to #friends."])
        self.assertEqual(self.carol.hears(), ["alice added you to #friends."])
        self.assertEqual(self.dave.hears(), [])
        self.assertEqual([self.role(p, "#friends") for p in self.everybody], [3, 1, 1, 0])

    def test_alone(self) -> None:
        """A group needs nobody else; its maker owns it and is in it."""
        self.assertEqual(
            self.alice.type("/create friends"), ["#friends created. You are admin.", "Now in #friends (admin)."]
        )
        self.assertEqual(self.alice.type("hi"), [])

    def test_by_joining(self) -> None:
        """Joining what does not exist makes it (row 16)."""
        self.assertEqual(
            self.alice.type("/join #new"), ["#new did not exist: created. You are admin.", "Now in #new (admin)."]
        )
        self.assertEqual(self.role(self.alice, "#new"), Role.OWNER)

    def test_autocreate_off(self) -> None:
        """The setting turns that off: an unknown group is unknown."""
        self.alice.type("/create #ops")
        self.world.set(autocreate=False)
        self.unchanged(self.bob, "/join #osp", "No such group: #osp. Did you mean #ops?")
        self.assertEqual(self.bob.type("/create #osp")[0], "#osp created. You are admin.")

    def test_fields(self) -> None:
        """A program is told the ids, the seq, and who was added or not."""
        fields = self.alice.ok("create", room="#Ops", people=["bob", self.carol.id, "bob", "alice", "nobody", 999])
        created = self.world.log()[fields["seq"] - 1]
        self.assertEqual((created.kind, created.room), ("created", fields["room_id"]))
        self.assertEqual(created.data, {"name": "#ops", "sealed": False, "door": "ask"})
        self.assertEqual(fields["added"], ["bob", "carol"])
        self.assertEqual(fields["unknown"], ["nobody", "999"])
        self.assertEqual((fields["room"], fields["role"], fields["sealed"]), ("#ops", "owner", False))

    def test_sealed_or_open(self) -> None:
        """--sealed and --open say which; not both; open where nothing is said. Sealed ones are made with keys only."""
        self.alice.type("/create --open #o")
        self.alice.type("/create #d bob")
        sealed = {name: self.world.read(lambda tx, n=name: tx.group(n)).sealed for name in ("#o", "#d")}
        self.assertEqual(sealed, {"#o": False, "#d": False})
        only = "#s is end-to-end encrypted; this connection cannot decrypt. Use chat."
        self.unchanged(self.alice, "/create --sealed #s", only)
        self.unchanged(self.alice, "/create --open --sealed #x", "Usage: /create [--open|--sealed] <room> [people...]")

    def test_taken(self) -> None:
        """A name in use is refused, with others that are free."""
        self.alice.type("/create #ops")
        self.unchanged(self.bob, "/create #OPS", '"#ops" is taken. Free: #ops2, #ops_.')

    def test_bad_names(self) -> None:
        """What cannot be a name of a group says so and changes nothing."""
        for name in ("#", "##x", "#a/b", "#" + "x" * 33, "#ünder"):
            self.assertEqual(self.alice.code("create", room=name), "BAD_NAME", name)
            self.assertEqual(self.alice.code("join", room=name), "BAD_NAME", name)
        self.assertEqual(
            self.alice.type("/create #a/b"),
            ['"#a/b" cannot be the name of a group.', "Use # and 1 to 32 of a-z 0-9 . _ -"],
        )

    def test_missing(self) -> None:
        """Without a name it is asked for."""
        self.assertEqual(self.alice.type("/create"), ["Group: "])
        self.assertEqual(self.alice.type("/join"), ["Group: "])

    def test_too_many_people(self) -> None:
        """More people than may be added at once are refused as a whole."""
        self.world.limit(group_people_at_creation=1)
        self.unchanged(self.alice, "/create #x bob carol", "#x is full.")

    def test_too_many_groups(self) -> None:
        """Who is in as many groups as one may be is told so, or, when added by another, left out."""
        self.world.limit(groups_per_account=1)
        self.alice.type("/create #a")
        for line in ("/create #b", "/join #b"):
            self.unchanged(self.alice, line, "You are in 1 group already.", "/leave one of them first.")
        self.assertEqual(
            self.bob.type("/create #b alice carol")[0],
            "#b created. You are admin. Added carol. In too many groups: alice.",
        )
        self.assertEqual(self.role(self.alice, "#b"), Role.NONE)

    def test_default_door(self) -> None:
        """The configured door is the new group's."""
        self.world.set(default_door=Door.OPEN)
        self.alice.type("/join #new")
        self.assertEqual(self.bob.type("/join #new"), ["Now in #new."])


class JoinTests(OpsBase):
    """Coming to the door (rows 16 and 17)."""

    def test_mine(self) -> None:
        """Joining a group I am in makes it current and says what I am there."""
        for person, line in ((self.alice, "Now in #ops (admin)."), (self.bob, "Now in #ops (admin).")):
            person.room = 0
            self.unchanged(person, "/join #OPS", line)
            self.assertEqual(person.room, self.ops)
        self.unchanged(self.carol, "/join ops", "Now in #ops.")

    def test_request(self) -> None:
        """Joining another's group asks all its admins, and changes nothing for the one who asks (row 17)."""
        self.dave.type("/create #mine")
        mine = self.dave.room
        self.assertEqual(self.dave.type("/join #ops"), ["Asked the admins of #ops (alice, bob). You will be told."])
        self.assertEqual(self.dave.room, mine)
        self.assertEqual(self.alice.hears(), ["dave asks to join #ops: /approve dave  /deny dave"])
        self.bob.room = 0
        self.assertEqual(self.bob.hears(), ["dave asks to join #ops: /approve #ops dave  /deny #ops dave"])
        self.assertEqual(self.carol.hears(), [])
        self.assertEqual(self.role(self.dave), Role.NONE)

    def test_request_in_the_log(self) -> None:
        """The notice stands once in each admin's own inbox, and the answer has the first one's seq."""
        fields = self.dave.ok("join", room="#ops")
        asked = self.world.log()[fields["seq"] - 1 :]
        inboxes = [self.world.read(lambda tx, p=p: tx.inbox(p.id)) for p in (self.alice, self.bob)]
        self.assertEqual([(e.kind, e.room, e.by) for e in asked], [("asked", i, self.dave.id) for i in inboxes])
        self.assertEqual(asked[0].data, {"room": self.ops, "name": "#ops"})
        self.assertEqual(fields["admins"], ["alice", "bob"])

    def test_twice(self) -> None:
        """Who has asked waits, and is told since when and for whom."""
        self.dave.type("/join #ops")
        self.world.wait(600)
        self.unchanged(self.dave, "/join #ops", "Already asked at 14:02; waiting for alice, bob.")

    def test_open_door(self) -> None:
        """Through an open door one walks in, is there at once, and all hear it."""
        self.alice.type("/door open")
        self.quiet()
        self.assertEqual(self.dave.type("/join #ops"), ["Now in #ops."])
        self.assertEqual(self.dave.room, self.ops)
        for person in self.everybody:
            self.assertEqual(person.hears(), ["dave joined #ops."])

    def test_door_opened_meanwhile(self) -> None:
        """Who has asked and finds the door open walks in; the request is done."""
        self.dave.type("/join #ops")
        self.alice.type("/door open")
        self.assertEqual(self.dave.type("/join #ops"), ["Now in #ops."])
        self.assertEqual(self.alice.type("/requests"), ["No pending join requests in #ops."])

    def test_invitation_only(self) -> None:
        """Where one must be added, joining names those who could."""
        self.alice.type("/door invite")
        self.unchanged(self.dave, "/join #ops", "#ops is entered by invitation only.", "Admins of #ops: alice, bob.")

    def test_banned(self) -> None:
        """Who is banned gets in by no door."""
        self.alice.type("/ban dave")
        for door in Door:
            self.alice.type(f"/door {door}")
            self.unchanged(self.dave, "/join #ops", "You are banned from #ops.", "Admins of #ops: alice, bob.")

    def test_full(self) -> None:
        """A full group takes nobody, by whatever way."""
        self.world.limit(group_members=3)
        self.dave.type("/join #ops")
        self.unchanged(self.alice, "/approve dave", "#ops is full.")
        self.unchanged(self.alice, "/add dave", "#ops is full.")
        self.alice.type("/door open")
        self.unchanged(self.dave, "/join #ops", "#ops is full.")

    def test_by_id(self) -> None:
        """A program joins by id; what is no group's id is no group."""
        self.alice.type("/door open")
        self.dave.ok("msg", user="bob", text="x")
        direct = self.world.log()[-1].room
        for number in (direct, 999, -1, 1 << 63):
            self.assertEqual(self.dave.code("join", room=number), "NO_GROUP")
        self.assertEqual(self.dave.ok("join", room=self.ops)["room"], "#ops")

    def test_hears_from_the_joining_on(self) -> None:
        """Who comes in hears their own coming, what follows, and nothing that was before."""
        self.alice.type("before")
        self.alice.type("/add dave")
        self.alice.type("after")
        self.dave.room = self.ops
        self.assertEqual(self.dave.hears(), ["alice added you to #ops.", "14:02 <alice> after"])


class RequestTests(OpsBase):
    """Answering requests (rows 18 and 19)."""

    def setUp(self) -> None:
        super().setUp()
        self.dave.type("/join #ops")
        self.quiet()

    def second(self) -> Person:
        """erin asks, too, three minutes later."""
        erin = self.world.person("erin")
        self.world.wait(180)
        erin.type("/join #ops")
        self.quiet()
        return erin

    def test_list(self) -> None:
        """The requests stand by number, the first asker first (row 18)."""
        self.second()
        for line in ("/requests", "/1", "/requests #ops"):
            self.assertEqual(self.bob.type(line), ["1 dave 14:02  2 erin 14:05"])

    def test_no_list(self) -> None:
        """Where nobody asks, it says so (row 18)."""
        self.alice.type("/approve dave")
        self.assertEqual(self.alice.type("/1"), ["No pending join requests in #ops."])
        self.unchanged(self.alice, "/2", "No pending join requests in #ops.")
        self.unchanged(self.alice, "/approve all", "No pending join requests in #ops.")
        self.unchanged(self.alice, "/deny", "No pending join requests in #ops.")

    def test_approve(self) -> None:
        """An approval is heard by all, the new one included, who is in from there on (row 19)."""
        self.assertEqual(self.bob.type("/approve dave"), [])
        for person in self.everybody:
            self.assertEqual(person.hears(), ["dave joined #ops, approved by bob."])
        self.assertEqual(self.role(self.dave), Role.MEMBER)
        joined = self.world.log()[-1]
        self.assertEqual((joined.by, joined.who), (self.bob.id, self.dave.id))
        self.assertEqual(joined.data, {"how": "approved", "name": "#ops", "sealed": False})

    def test_by_number_name_all_or_the_only_one(self) -> None:
        """Whom to approve is a name, a number of the list, all, or nothing where one waits."""
        for number, line in enumerate(("/approve 1", "/2 1", "/approve @Dave", "/approve all", "/approve", "/2")):
            if number:
                self.alice.type("/kick dave")
                self.dave.type("/join #ops")
            self.assertEqual(self.alice.type(line), [], line)
            self.assertEqual(self.role(self.dave), Role.MEMBER, line)

    def test_all(self) -> None:
        """All come in, in the order they asked."""
        erin = self.second()
        fields = self.alice.ok("approve", "#ops", who="all")
        self.assertEqual(fields["approved"], ["dave", "erin"])
        self.assertEqual(erin.hears(), ["erin joined #ops, approved by alice."])
        self.assertEqual(
            self.carol.hears(), ["dave joined #ops, approved by alice.", "erin joined #ops, approved by alice."]
        )

    def test_several(self) -> None:
        """Where several wait and nobody is named, the list is shown and it is asked (row 19)."""
        self.second()
        for line in ("/approve", "/2", "/deny"):
            self.unchanged(self.alice, line, "1 dave 14:02  2 erin 14:05", "Whom? ")
        ask = self.alice.call("approve", "#ops")
        assert isinstance(ask, Ask)
        self.assertEqual((ask.field, ask.secret, ask.many), ("who", False, False))

    def test_by_id(self) -> None:
        """A program names an account by its id, whatever number of the list that might be."""
        self.second()
        self.assertEqual(self.alice.ok("approve", "#ops", who=self.dave.id)["approved"], ["dave"])
        self.assertEqual(self.alice.code("approve", "#ops", who=1), "NO_REQUEST")

    def test_a_name_of_digits(self) -> None:
        """An applicant who is called like a number is meant by it."""
        fortytwo = self.world.person("42")
        fortytwo.type("/join #ops")
        self.assertEqual(self.alice.ok("approve", "#ops", who="42")["approved"], ["42"])

    def test_nobody_of_that_name(self) -> None:
        """Who has not asked cannot be approved or denied."""
        erin = self.world.person("erin")
        self.unchanged(self.alice, "/approve erin", "erin has not asked to join #ops.")
        self.unchanged(self.alice, "/deny carol", "carol has not asked to join #ops.")
        self.unchanged(self.alice, "/approve dvae", "No such person: dvae. Did you mean dave?")
        self.unchanged(self.alice, "/approve 2", "No such person: 2.")
        self.unchanged(self.alice, "/approve 0", "No such person: 0.")
        self.assertEqual(self.role(erin), Role.NONE)

    def test_answered_already(self) -> None:
        """The second admin to answer is told that there is nothing to answer."""
        self.bob.type("/approve dave")
        self.unchanged(self.alice, "/approve dave", "dave has not asked to join #ops.")
        self.unchanged(self.alice, "/deny dave", "dave has not asked to join #ops.")

    def test_deny(self) -> None:
        """Who is denied is told by whom and why, and may ask again (row 19)."""
        self.assertEqual(self.alice.type("/deny dave not now"), ["dave may not join #ops, and will be told."])
        self.assertEqual(self.dave.hears(), ["alice denied your request to join #ops: not now"])
        self.assertEqual(self.carol.hears(), [])
        self.assertEqual(self.dave.type("/join #ops"), ["Asked the admins of #ops (alice, bob). You will be told."])

    def test_deny_without_a_reason(self) -> None:
        """A reason need not be given, and the only one need not be named."""
        self.alice.type("/deny")
        self.assertEqual(self.dave.hears(), ["alice denied your request to join #ops."])
        self.assertEqual(self.alice.type("/1"), ["No pending join requests in #ops."])

    def test_deny_all(self) -> None:
        """All are denied and told."""
        erin = self.second()
        self.assertEqual(self.alice.ok("deny", "#ops", who="all")["denied"], ["dave", "erin"])
        self.assertEqual(self.dave.hears(), erin.hears())

    def test_too_many_groups(self) -> None:
        """Who is in as many groups as one may be cannot be approved; nobody of an `all` comes in then."""
        erin = self.second()
        erin.type("/create #a")
        erin.type("/create #b")
        self.world.limit(groups_per_account=2)
        self.unchanged(self.alice, "/approve all", "erin is in 2 groups already.")
        self.unchanged(erin, "/join #ops", "Already asked at 14:05; waiting for alice, bob.")

    def test_added_instead(self) -> None:
        """Adding somebody who has asked answers the request."""
        self.alice.type("/add dave")
        self.assertEqual(self.alice.type("/1"), ["No pending join requests in #ops."])

    def test_banned_instead(self) -> None:
        """Banning somebody who has asked answers the request."""
        self.alice.type("/ban dave")
        self.assertEqual(self.alice.type("/1"), ["No pending join requests in #ops."])

    def test_account_gone(self) -> None:
        """Who has asked and deleted the account does not wait any more."""
        self.world.delete(self.dave)
        self.assertEqual(self.alice.type("/1"), ["No pending join requests in #ops."])


class AddRemoveTests(OpsBase):
    """Putting people in and out (rows 25, 27, 29)."""

    def test_add(self) -> None:
        """The added one sees who did it, the others who came (row 29)."""
        self.assertEqual(self.bob.type("/add dave"), [])
        self.assertEqual(self.dave.hears(), ["bob added you to #ops."])
        self.assertEqual(self.carol.hears(), ["bob added dave to #ops."])
        self.assertEqual(self.bob.hears(), ["bob added dave to #ops."])

    def test_add_refused(self) -> None:
        """Who is in, is banned, or does not exist, cannot be added."""
        self.unchanged(self.alice, "/add carol", "carol is already in #ops.")
        self.unchanged(self.alice, "/add alice", "alice is already in #ops.")
        self.unchanged(self.alice, "/add carl", "No such person: carl. Did you mean carol?")
        self.assertEqual(self.alice.type("/add"), ["Whom? "])
        self.alice.type("/ban dave")
        self.unchanged(self.alice, "/add dave", "dave is banned from #ops.", "/unban dave")
        self.world.limit(groups_per_account=1)
        erin = self.world.person("erin")
        erin.type("/create #a")
        self.unchanged(self.alice, "/add erin", "erin is in 1 group already.")

    def test_remove(self) -> None:
        """All hear who removed whom and why; the removed one hears it as the last thing (row 25)."""
        for line in ("/kick carol spam", "/remove carol spam", "/8 carol spam", "/kick #ops carol spam"):
            self.assertEqual(self.bob.type(line), [], line)
            self.bob.type("and on we go")
            self.carol.room = 0
            self.assertEqual(self.carol.hears(), ["You were removed from #ops by bob: spam"])
            self.assertEqual(self.alice.hears(), ["bob removed carol from #ops: spam", "14:02 <bob> and on we go"])
            self.assertEqual(self.role(self.carol), Role.NONE)
            self.alice.type("/add carol")
            self.quiet()

    def test_remove_without_a_reason(self) -> None:
        """A reason need not be given."""
        self.alice.type("/kick carol")
        self.assertEqual(self.bob.hears(), ["alice removed carol from #ops."])
        self.assertEqual(self.carol.hears(), ["You were removed from #ops by alice."])

    def test_admins_and_the_owner(self) -> None:
        """Only the owner removes an admin; nobody removes or bans the owner (§2)."""
        self.alice.type("/promote carol")
        for verb in ("kick", "remove", "ban"):
            self.unchanged(self.bob, f"/{verb} carol", f"Only the owner can do that: /{verb}", "Owner of #ops: alice.")
            self.unchanged(self.bob, f"/{verb} alice", "alice owns #ops and cannot be removed.")
        self.unchanged(self.alice, "/kick alice", "alice owns #ops and cannot be removed.")
        self.assertEqual(self.alice.type("/kick carol"), [])

    def test_who_is_not_in(self) -> None:
        """Who is not in cannot be removed."""
        self.unchanged(self.alice, "/kick dave", "dave is not in #ops.")
        self.unchanged(self.alice, "/remove dave", "dave is not in #ops.")
        self.unchanged(self.alice, "/kick crol", "No such person: crol. Did you mean carol?")

    def test_long_reasons(self) -> None:
        """A reason has its limit, everywhere."""
        self.dave.type("/join #ops")
        erin = self.world.person("erin")
        for line in ("/kick carol", "/remove carol", "/ban carol", f"/ban {erin.name}", "/deny dave"):
            self.unchanged(self.alice, f"{line} {'x' * 301}", "301 of 300 characters.")

    def test_ban_a_member(self) -> None:
        """A ban puts out and keeps out (row 25)."""
        self.assertEqual(self.bob.type("/ban carol spam"), [])
        self.assertEqual(self.alice.hears(), ["bob banned carol from #ops: spam"])
        self.assertEqual(self.carol.hears(), ["You were banned from #ops by bob: spam"])
        self.carol.room = 0
        self.unchanged(self.carol, "/join #ops", "You are banned from #ops.", "Admins of #ops: alice, bob.")

    def test_ban_somebody_else(self) -> None:
        """Who is not in can be kept out, too."""
        self.assertEqual(self.bob.type("/ban dave"), [])
        self.assertEqual(self.alice.hears(), ["bob banned dave from #ops."])
        self.assertEqual(self.dave.hears(), [])
        self.assertEqual(self.dave.code("join", room="#ops"), "BANNED")

    def test_ban_refused(self) -> None:
        """Twice, or oneself, is refused."""
        self.bob.type("/ban dave")
        self.unchanged(self.alice, "/ban dave", "dave is banned from #ops.", "/unban dave")
        self.unchanged(self.alice, "/ban alice", "That is you.")
        self.unchanged(self.bob, "/ban bob", "That is you.")

    def test_unban(self) -> None:
        """Whoever was kept out may ask again."""
        self.bob.type("/ban dave")
        self.quiet()
        self.assertEqual(self.alice.type("/unban dave"), [])
        self.assertEqual(self.carol.hears(), ["alice lifted the ban of dave from #ops."])
        self.unchanged(self.alice, "/unban dave", "dave is not banned from #ops.")
        self.assertEqual(self.dave.type("/join #ops")[0][:5], "Asked")

    def test_bans(self) -> None:
        """The bans stand with who made them and why."""
        self.assertEqual(self.alice.type("/bans"), ["Nobody is banned from #ops."])
        self.bob.type("/ban dave spam")
        self.alice.type("/ban carol")
        self.assertEqual(self.alice.type("/bans"), ["carol by alice.", "dave by bob: spam"])


class LeaveTests(OpsBase):
    """Going (row 30)."""

    def test_leave(self) -> None:
        """Who leaves is told so, the others hear it, and no room is current any more."""
        self.assertEqual(self.carol.type("/leave"), [])
        self.assertEqual(self.carol.hears(), ["You left #ops."])
        self.assertEqual(self.alice.hears(), ["carol left #ops."])
        self.assertEqual(self.carol.room, 0)

    def test_leave_another(self) -> None:
        """Leaving a group that is not current leaves the current one as it is."""
        self.carol.type("/create #mine")
        mine = self.carol.room
        self.carol.type("/leave #ops")
        self.assertEqual(self.carol.room, mine)
        self.assertEqual(self.role(self.carol), Role.NONE)

    def test_the_owner_stays(self) -> None:
        """The owner cannot leave a group of others without handing it over."""
        self.unchanged(self.alice, "/leave", "Give #ops to somebody first: /transfer")
        self.alice.type("/transfer bob", yes=True)
        self.assertEqual(self.alice.type("/leave"), [])

    def test_the_last_one_closes(self) -> None:
        """The last one out closes the group; its name is free, its requests are gone."""
        for person in (self.carol, self.bob):
            person.type("/leave")
        self.dave.type("/join #ops")
        self.alice.hears()
        fields = self.alice.ok("leave", "#ops")
        self.assertEqual(fields, {"seq": fields["seq"], "closed": True})
        self.assertEqual(self.world.log()[-1].kind, "closed")
        self.assertEqual(self.alice.hears(), ["You left a closed group. Nobody is in it any more: closed."])
        self.assertEqual(self.alice.code("say", self.ops, text="x"), "NO_GROUP")
        self.assertEqual(self.alice.code("join", room=self.ops), "NO_GROUP")
        self.assertEqual(
            self.dave.type("/join #ops"), ["#ops did not exist: created. You are admin.", "Now in #ops (admin)."]
        )
        self.assertNotEqual(self.dave.room, self.ops)

    def test_not_in(self) -> None:
        """Where I am not I cannot leave."""
        self.unchanged(self.dave, "/leave #ops", *NOT_IN)
        self.unchanged(self.dave, "/leave", "No room is open.", "/join #group or /dm person opens one.")

    def test_close_the_view(self) -> None:
        """/close leaves the view and never the group (row 13)."""
        self.unchanged(self.carol, "/close", "Left the view of #ops; you are still in it.")
        self.assertEqual((self.carol.room, self.role(self.carol)), (0, Role.MEMBER))
        self.assertEqual(self.carol.code("close"), "NO_ROOM")
        self.alice.type("hi")
        self.assertEqual(self.carol.hears(), ["14:02 #ops <alice> hi"])


class RankTests(OpsBase):
    """Owner, admins, members (rows 23, 28, 30)."""

    def test_promote_and_demote(self) -> None:
        """The owner makes and unmakes admins; all hear it, the one it is done to personally."""
        self.assertEqual(self.alice.type("/promote carol"), [])
        self.assertEqual(self.carol.hears(), ["alice made you an admin of #ops."])
        self.assertEqual(self.bob.hears(), ["alice made carol an admin of #ops."])
        self.assertEqual(self.role(self.carol), Role.ADMIN)
        self.assertEqual(self.alice.type("/demote carol"), [])
        self.assertEqual(self.carol.hears(), ["You are no longer an admin of #ops (alice)."])
        self.assertEqual(self.role(self.carol), Role.MEMBER)

    def test_ranks_refused(self) -> None:
        """Who is that already, is not in, or owns the group, is told apart."""
        self.unchanged(self.alice, "/promote bob", "bob is an admin of #ops already.")
        self.unchanged(self.alice, "/promote alice", "alice is the owner of #ops already.")
        self.unchanged(self.alice, "/promote dave", "dave is not in #ops.")
        self.unchanged(self.alice, "/demote carol", "carol is an ordinary member of #ops already.")
        self.unchanged(self.alice, "/demote alice", "Give #ops to somebody first: /transfer")
        self.unchanged(self.alice, "/demote dave", "dave is not in #ops.")

    def test_transfer_asks(self) -> None:
        """A transfer is asked back, and nothing is changed until yes (row 23)."""
        for line in ("/transfer bob", "/6 bob", "/transfer #ops bob"):
            self.unchanged(self.alice, line, "Make bob owner of #ops and step down? [y/N] ")

    def test_transfer(self) -> None:
        """All hear who owns the group now; the old owner is an ordinary member (row 23)."""
        self.assertEqual(self.alice.type("/6 carol", yes=True), [])
        for person in (self.alice, self.bob, self.carol):
            self.assertEqual(person.hears(), ["carol now owns #ops."])
        self.assertEqual([self.role(p) for p in self.everybody], [Role.MEMBER, Role.ADMIN, Role.OWNER, Role.NONE])
        self.unchanged(self.alice, "/kick bob", "Only admin can do that: /kick", "Admins of #ops: carol, bob.")

    def test_programs_are_not_asked(self) -> None:
        """A program's transfer is meant."""
        seq = self.alice.ok("transfer", "#ops", user="bob")["seq"]
        event = self.world.log()[-1]
        self.assertEqual((event.seq, event.kind, event.by, event.who), (seq, "transferred", self.alice.id, self.bob.id))

    def test_transfer_refused(self) -> None:
        """A group is given to a member, and not to its owner."""
        self.unchanged(self.alice, "/transfer dave", "dave is not in #ops.")
        self.unchanged(self.alice, "/transfer alice", "alice is the owner of #ops already.")
        self.assertEqual(self.alice.type("/transfer"), ["Whom? "])

    def test_gone_between_question_and_answer(self) -> None:
        """Who is removed between question and yes does not become the owner."""
        self.assertEqual(self.alice.type("/transfer carol")[0][:5], "Make ")
        self.bob.type("/kick carol")
        self.unchanged(self.alice, "/transfer carol", "carol is not in #ops.")
        self.assertEqual(self.alice.code("transfer", "#ops", user="carol"), "NOT_THERE")

    def test_what_each_role_is_told(self) -> None:
        """Outsiders are told to join, members who the admins are, admins who the owner is (rows 27, 28, §2)."""
        admin_lines = {
            "/requests": "/requests",
            "/1": "/requests",
            "/approve x": "/approve",
            "/deny x": "/deny",
            "/kick bob": "/kick",
            "/8 bob": "/kick",
            "/ban bob": "/ban",
            "/unban bob": "/unban",
            "/bans": "/bans",
            "/topic x": "/topic",
            "/door open": "/door",
        }
        owner_lines = {
            "/promote bob": "/promote",
            "/demote bob": "/demote",
            "/transfer bob": "/transfer",
            "/6 bob": "/transfer",
            "/rename #x": "/rename",
        }
        admins = "Admins of #ops: alice, bob."
        for line, verb in (admin_lines | owner_lines).items():
            self.unchanged(self.carol, line, f"Only admin can do that: {verb}", admins)
        for line in ("/add dave", "/remove bob", "/remove"):
            self.unchanged(self.carol, line, "Only admin can add/remove participants", admins)
        for line, verb in owner_lines.items():
            self.unchanged(self.bob, line, f"Only the owner can do that: {verb}", "Owner of #ops: alice.")
        self.dave.room = self.ops
        for line in (*admin_lines, *owner_lines, "/add dave", "/remove bob", "/members", "/online", "/admins", "hi"):
            self.unchanged(self.dave, line, *NOT_IN)


class AboutTests(OpsBase):
    """What a group is, and who is in it (rows 21, 22, 24)."""

    def test_members(self) -> None:
        """All members, the owner first, then admins (row 21)."""
        for line in ("/members", "/4", "/members #ops"):
            self.assertEqual(self.carol.type(line), ["#ops 3: alice (owner) bob (admin) carol"])

    def test_members_for_programs(self) -> None:
        """Each with id, role, and whether online."""
        self.world.online(self.bob)
        self.assertEqual(
            self.carol.ok("members", "#ops")["members"],
            [
                {"name": "alice", "account": self.alice.id, "role": "owner", "online": False},
                {"name": "bob", "account": self.bob.id, "role": "admin", "online": True},
                {"name": "carol", "account": self.carol.id, "role": "member", "online": False},
            ],
        )

    def test_online(self) -> None:
        """Those of the group who are connected anywhere (row 22)."""
        self.world.online(self.alice, self.carol, self.dave)
        for line in ("/online", "/5"):
            self.assertEqual(self.carol.type(line), ["#ops 2 of 3 online: alice, carol"])
        self.world.wait(60)
        self.assertEqual(self.carol.type("/5"), ["#ops 0 of 3 online"])

    def test_admins(self) -> None:
        """The owner and the admins (row 24)."""
        for line in ("/admins", "/7"):
            self.assertEqual(self.carol.type(line), ["#ops owner alice; admins bob"])
        self.alice.type("/promote carol")
        self.assertEqual(self.carol.type("/7"), ["#ops owner alice; admins bob, carol"])
        for name in ("bob", "carol"):
            self.alice.type(f"/demote {name}")
        self.assertEqual(self.carol.type("/7"), ["#ops owner alice"])

    def test_groups(self) -> None:
        """My groups with what I am there, and those that I could ask to join."""
        self.dave.type("/create #hidden")
        self.dave.type("/door invite")
        self.dave.type("/create #a")
        self.assertEqual(self.bob.type("/groups"), ["Groups: #ops (admin)", "Others: #a"])
        self.assertEqual(self.dave.type("/groups"), ["Groups: #a (admin)  #hidden (admin)", "Others: #ops"])
        for person in (self.carol, self.bob):
            person.type("/leave")
        self.alice.type("/leave")
        self.assertEqual(self.alice.type("/groups"), ["Groups: (none)", "Others: #a"])

    def test_topic(self) -> None:
        """Members read the topic, admins set it, - takes it away."""
        self.assertEqual(self.carol.type("/topic"), ["#ops has no topic."])
        self.assertEqual(self.bob.type("/topic Releases  on Fridays"), [])
        self.assertEqual(self.carol.hears(), ["bob set the topic of #ops: Releases  on Fridays"])
        self.assertEqual(self.carol.type("/topic"), ["Topic of #ops: Releases  on Fridays"])
        self.assertEqual(self.bob.type("/topic -"), [])
        self.assertEqual(self.carol.hears(), ["bob cleared the topic of #ops."])
        self.assertEqual(self.carol.type("/topic"), ["#ops has no topic."])

    def test_topic_too_long(self) -> None:
        """A topic has its limit."""
        self.unchanged(self.alice, f"/topic {'x' * 301}", "301 of 300 characters.")

    def test_door(self) -> None:
        """Members see the door, admins set it."""
        self.assertEqual(self.carol.type("/door"), ["Door of #ops: ask (an admin approves who joins)."])
        self.assertEqual(self.bob.type("/door OPEN"), [])
        self.assertEqual(self.carol.hears(), ["bob set the door of #ops to open (anybody may join)."])
        self.assertEqual(self.carol.type("/door"), ["Door of #ops: open (anybody may join)."])
        self.assertEqual(self.alice.type("/door #ops invite"), [])
        self.assertEqual(self.carol.hears(), ["alice set the door of #ops to invite (by /add only)."])

    def test_door_as_it_is(self) -> None:
        """Setting the door to what it is says so and makes no event."""
        self.unchanged(self.alice, "/door ask", "Door of #ops: ask (an admin approves who joins).")

    def test_no_such_door(self) -> None:
        """There are three doors."""
        self.unchanged(self.alice, "/door shut", "Usage: /door [open|ask|invite]")

    def test_rename(self) -> None:
        """The group has another name; its members, its id and its past stay (§2)."""
        for line in ("/rename #dev", "/rename #dev #qa", "/rename ops"):
            self.assertEqual(self.alice.type(line), [])
        self.assertEqual(
            self.carol.hears(),
            ["alice renamed #ops to #dev.", "alice renamed #dev to #qa.", "alice renamed #qa to #ops."],
        )
        self.alice.ok("rename", "#ops", name="New")
        self.assertEqual(self.carol.type("/members"), ["#new 3: alice (owner) bob (admin) carol"])
        self.assertEqual(self.alice.code("say", "#ops", text="x"), "NO_GROUP")

    def test_rename_refused(self) -> None:
        """To a name in use, or none, it cannot be."""
        self.dave.type("/create #dev")
        self.unchanged(self.alice, "/rename #dev", '"#dev" is taken. Free: #dev2, #dev_.')
        self.unchanged(self.alice, "/rename #ops", '"#ops" is taken. Free: #ops2, #ops_.')
        self.assertEqual(self.alice.code("rename", "#ops", name="a b"), "BAD_NAME")
        self.assertEqual(self.alice.type("/rename"), ["New name: "])

    def test_the_old_name_is_free(self) -> None:
        """What a group was called may be another's name."""
        self.alice.type("/rename #dev")
        self.assertEqual(self.dave.type("/join #ops")[0], "#ops did not exist: created. You are admin.")


class AnswerTests(OpsBase):
    """What programs can rely on."""

    def test_answers_are_json(self) -> None:
        """Every answer can be written as JSON, and what made an event has its seq."""
        self.dave.type("/join #ops")
        steps: list[tuple[Person, str, str | None, dict[str, Any]]] = [
            (self.alice, "create", None, {"room": "#x", "people": ["bob", "nobody"]}),
            (self.alice, "requests", "#ops", {}),
            (self.alice, "approve", "#ops", {"who": "dave"}),
            (self.alice, "members", "#ops", {}),
            (self.alice, "online", "#ops", {}),
            (self.alice, "admins", "#ops", {}),
            (self.alice, "groups", None, {}),
            (self.alice, "bans", "#ops", {}),
            (self.alice, "topic", "#ops", {}),
            (self.alice, "door", "#ops", {}),
            (self.alice, "join", None, {"room": "#ops"}),
            (self.alice, "history", "#ops", {}),
            (self.alice, "search", "#ops", {"words": "x"}),
            (self.alice, "help", None, {}),
            (self.alice, "help", None, {"command": "kick"}),
            (self.alice, "menu", None, {}),
            (self.alice, "whereami", None, {}),
            (self.alice, "dm", None, {"user": "bob"}),
            (self.alice, "close", None, {}),
        ]
        for person, verb, room, args in steps:
            newest = self.world.log()[-1].seq
            result = person.call(verb, room, **args)
            assert isinstance(result, Reply), (verb, result)
            json.dumps(dict(result.fields))
            if self.world.log()[-1].seq > newest:
                self.assertGreater(result.fields["seq"], newest, verb)

    def test_times(self) -> None:
        """Times are milliseconds."""
        self.dave.type("/join #ops")
        self.assertEqual(self.alice.ok("requests", "#ops")["requests"][0]["at"], AT)
