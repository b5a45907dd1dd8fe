"""Who may do what: every pair of roles, and nothing left undefined."""

from __future__ import annotations

import itertools

from twisted.trial.unittest import SynchronousTestCase

from chatd.errors import CODES
from chatd.model import Door, Role
from chatd.rules import Needs, may_command, may_enter, may_leave, may_remove

N, M, A, O = Role.NONE, Role.MEMBER, Role.ADMIN, Role.OWNER  # noqa: E741 - they stand in tables


class RulesTests(SynchronousTestCase):
    """The rules as tables: each row and column is a role, in the order none, member, admin, owner."""

    def test_room_commands_by_role(self) -> None:
        """Members use what members may, admins run the group, and an admin is told what only the owner may."""
        table = {
            Needs.NOTHING: (None, None, None, None),
            Needs.LOGIN: (None, None, None, None),
            Needs.OPERATOR: (None, None, None, None),
            Needs.HEARD: ("NOT_MEMBER", None, None, None),
            Needs.MEMBER: ("NOT_MEMBER", None, None, None),
            Needs.ADMIN: ("NOT_MEMBER", "ONLY_ADMIN", None, None),
            Needs.OWNER: ("NOT_MEMBER", "ONLY_ADMIN", "ONLY_OWNER", None),
        }
        self.assertEqual(table.keys(), set(Needs))
        for needs, answers in table.items():
            self.assertEqual(tuple(may_command(needs, role) for role in Role), answers, needs)

    def test_removing_by_role(self) -> None:
        """Nobody removes the owner, only the owner an admin, and whoever is no admin nobody."""
        table = {
            N: ("NOT_MEMBER", "NOT_MEMBER", "NOT_MEMBER", "NOT_MEMBER"),
            M: ("ONLY_ADMIN", "ONLY_ADMIN", "ONLY_ADMIN", "ONLY_ADMIN"),
            A: (None, None, "ONLY_OWNER", "OWNER_SAFE"),
            O: (None, None, None, "OWNER_SAFE"),
        }
        for actor, answers in table.items():
            self.assertEqual(tuple(may_remove(actor, target) for target in Role), answers, actor)

    def test_more_power_never_does_less(self) -> None:
        """What a role may do, every higher role may, too."""
        for needs, (lower, higher) in itertools.product(Needs, itertools.combinations(Role, 2)):
            if may_command(needs, lower) is None:
                self.assertIsNone(may_command(needs, higher), f"{needs} {lower} {higher}")
        for target, (lower, higher) in itertools.product(Role, itertools.combinations(Role, 2)):
            if may_remove(lower, target) is None:
                self.assertIsNone(may_remove(higher, target), f"{target} {lower} {higher}")

    def test_entering_by_door(self) -> None:
        """An open door lets in, an asking one makes one wait, one by invitation refuses; a ban outweighs them all."""
        self.assertEqual(
            {door: (may_enter(door, banned=False), may_enter(door, banned=True)) for door in Door},
            {
                Door.OPEN: (None, "BANNED"),
                Door.ASK: ("PENDING", "BANNED"),
                Door.INVITE: ("INVITE_ONLY", "BANNED"),
            },
        )

    def test_leaving_by_role(self) -> None:
        """Anybody leaves, but the owner not from a group in which others stay."""
        self.assertEqual(
            {role: (may_leave(role, 0), may_leave(role, 1), may_leave(role, 5_000)) for role in Role},
            {
                N: ("NOT_MEMBER", "NOT_MEMBER", "NOT_MEMBER"),
                M: (None, None, None),
                A: (None, None, None),
                O: (None, "OWNER_STAYS", "OWNER_STAYS"),
            },
        )

    def test_every_answer_is_a_code(self) -> None:
        """Whatever a rule answers, there is a refusal of that name."""
        answers = {
            *(may_command(needs, role) for needs in Needs for role in Role),
            *(may_remove(actor, target) for actor in Role for target in Role),
            *(may_enter(door, banned) for door in Door for banned in (False, True)),
            *(may_leave(role, others) for role in Role for others in (0, 1)),
        }
        self.assertLessEqual(answers - {None}, CODES.keys())
