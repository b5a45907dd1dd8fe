"""Names: what folds to what, what is refused, and which names look alike."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatd.errors import Refusal
from chatd.names import RESERVED, fold_account, fold_group, nearest, skeleton, suggestions

folded_names = st.from_regex(r"[a-z0-9._-]{2,32}", fullmatch=True)
near_ascii = st.text(
    st.sampled_from("aZ0._-#@ \n\0\u0430\uff21\uff03\u212a\u0130\u0301\u200b\u05d0\ud800"), max_size=40
)
anything = st.one_of(st.text(), st.text(st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF)), near_ascii)


def is_account(name: str) -> bool:
    try:
        return fold_account(name) == name
    except Refusal:
        return False


class Accounts(SynchronousTestCase):
    def refused(self, typed: str) -> None:
        refusal = self.assertRaises(Refusal, fold_account, typed)
        self.assertEqual((refusal.code, refusal.fields), ("BAD_NAME", {"name": typed, "what": "user"}))

    def test_capitals_and_full_width_fold(self) -> None:
        """Alice, ALICE and the full-width form are the account alice."""
        for typed in ("alice", "Alice", "ALICE", "\uff21\uff4c\uff49\uff43\uff45"):
            self.assertEqual(fold_account(typed), "alice")

    def test_every_allowed_character(self) -> None:
        """Letters, digits, dot, underscore and dash make a name, in any order, from 2 to 32 of them."""
        for name in ("ab", "0x", "a.b_c-d", "-x", "x" * 32):
            self.assertEqual(fold_account(name), name)

    def test_length(self) -> None:
        """One character is too short, 33 are too long, and so are a million."""
        for typed in ("", "a", "a" * 33, "a" * 1_000_000, "\uff21" * 33):
            self.refused(typed)

    def test_what_is_no_name(self) -> None:
        """Spaces, signs, control characters, a line end and lone surrogates are refused as any bad name is."""
        for typed in ("a b", "bob\n", "bob\0", "\x1b[1m", "@bob", "#bob", "bob!", "\ud800\udfff", "\U0010ffff" * 2):
            self.refused(typed)

    def test_other_scripts(self) -> None:
        """A Cyrillic a in alice is no ASCII letter after folding: the whole name is refused. So are ß, é, İ and עב."""
        for typed in ("\u0430lice", "stra\u00dfe", "ren\u00e9", "rene\u0301", "\u0130van", "\u05e2\u05d1", "\u017fam"):
            self.refused(typed)

    def test_reserved(self) -> None:
        """Nobody can be admin, server, system, root, chatd, all or deleted, in no case, nor look like one of them."""
        self.assertTrue({"admin", "server", "system", "root", "chatd", "all", "deleted"} <= RESERVED)
        for name in RESERVED:
            self.refused(name)
            self.refused(name.upper())
        for typed in ("r00t", "adrnin", "systern", "a11", "de1eted", "Ro0T"):
            self.refused(typed)
        self.assertEqual(fold_account("roots"), "roots")

    @given(anything)
    def test_any_string(self, typed: str) -> None:
        """Whatever is typed becomes a name that folds to itself, or BAD_NAME; nothing else comes out."""
        try:
            folded = fold_account(typed)
        except Refusal as refusal:
            self.assertEqual((refusal.code, refusal.fields["what"]), ("BAD_NAME", "user"))
        else:
            self.assertTrue(re.fullmatch(r"[a-z0-9._-]{2,32}", folded))
            self.assertEqual(fold_account(folded), folded)
            self.assertEqual(fold_account(folded.upper()), folded)


class Groups(SynchronousTestCase):
    def refused(self, typed: str) -> None:
        refusal = self.assertRaises(Refusal, fold_group, typed)
        self.assertEqual((refusal.code, refusal.fields), ("BAD_NAME", {"name": typed, "what": "group"}))

    def test_with_or_without_the_sign(self) -> None:
        """ops, #ops and #OPS are the group #ops."""
        for typed in ("ops", "#ops", "#OPS", "Ops"):
            self.assertEqual(fold_group(typed), "#ops")

    def test_length(self) -> None:
        """One character is enough for a group; 32 are the most, the sign not counted."""
        for typed in ("x", "#x"):
            self.assertEqual(fold_group(typed), "#x")
        self.assertEqual(fold_group("#" + "x" * 32), "#" + "x" * 32)
        for typed in ("", "#", "x" * 33, "#" + "x" * 33, "#" + "x" * 1_000_000):
            self.refused(typed)

    def test_what_is_no_group(self) -> None:
        """A second sign, a person, a space, a line end and other scripts are refused."""
        for typed in ("##ops", "@ops", "#a b", "#ops\n", "#\u043eps", "#\ud800", "\uff03ops"):
            self.refused(typed)

    def test_nothing_is_reserved(self) -> None:
        """A group may be called #admin: it speaks for nobody."""
        self.assertEqual(fold_group("#admin"), "#admin")

    @given(anything)
    def test_any_string(self, typed: str) -> None:
        """Whatever is typed becomes a group name that folds to itself, or BAD_NAME; nothing else comes out."""
        try:
            folded = fold_group(typed)
        except Refusal as refusal:
            self.assertEqual((refusal.code, refusal.fields["what"]), ("BAD_NAME", "group"))
        else:
            self.assertTrue(re.fullmatch(r"#[a-z0-9._-]{1,32}", folded))
            self.assertEqual(fold_group(folded), folded)


class LookAlikes(SynchronousTestCase):
    def test_listed(self) -> None:
        """What Unicode lists as confusable within ASCII is one name: 0 and o, 1 and l, m and rn."""
        for one, other in (("bob", "b0b"), ("alice", "a1ice"), ("mary", "rnary"), ("moll", "rn011")):
            self.assertEqual(skeleton(one), skeleton(other))

    def test_not_listed(self) -> None:
        """What Unicode does not list stays distinct: i and l, w and vv, 5 and s, and the marks."""
        for one, other in (
            ("bili", "bill"), ("will", "vvill"), ("5am", "sam"), ("alice", "alice_"), ("a_b", "a-b"), ("a.b", "ab")
        ):  # fmt: skip
            self.assertNotEqual(skeleton(one), skeleton(other))

    @given(folded_names)
    def test_skeleton_of_a_skeleton(self, name: str) -> None:
        """A skeleton is its own skeleton, so that comparing two of them is enough."""
        self.assertEqual(skeleton(skeleton(name)), skeleton(name))


class Suggestions(SynchronousTestCase):
    def test_first_choice(self) -> None:
        """Where alice is taken, alice2 and alice_ are on offer."""
        self.assertEqual(suggestions("alice", {"alice"}.__contains__), ("alice2", "alice_"))

    def test_neighbours_taken(self) -> None:
        """A neighbour that is taken is passed over."""
        taken = {"alice", "alice2", "alice3", "alice_"}
        self.assertEqual(suggestions("alice", taken.__contains__), ("alice4", "alice-"))
        taken |= {"alice-", "alice_2", "alice_3"}
        self.assertEqual(suggestions("alice", taken.__contains__), ("alice4", "alice5"))

    def test_longest(self) -> None:
        """A name of 32 characters gives up its end; a name is never offered in place of itself."""
        self.assertEqual(suggestions("a" * 32, lambda name: False), ("a" * 31 + "2", "a" * 31 + "_"))
        self.assertEqual(suggestions("a" * 31 + "2", lambda name: False), ("a" * 31 + "3", "a" * 31 + "_"))

    def test_all_taken(self) -> None:
        """Where every neighbour is taken nothing is on offer, and the search ends."""
        self.assertEqual(suggestions("alice", lambda name: True), ())

    @given(folded_names, st.sets(st.integers(2, 30)))
    def test_always_free_valid_and_two(self, name: str, numbers: set[int]) -> None:
        """Two different names come back, both free, both valid, and they do not look alike."""
        taken = {name, *(f"{name}{number}" for number in numbers)}
        offered = suggestions(name, taken.__contains__)
        self.assertEqual(len({skeleton(other) for other in offered}), 2)
        for other in offered:
            self.assertNotIn(other, taken)
            self.assertTrue(is_account(other))


class Nearest(SynchronousTestCase):
    def test_typos(self) -> None:
        """Swapped, missing, doubled and wrong letters are recognised, and capitals do not matter."""
        people = ["alice", "bob", "carol", "dave"]
        for typo, meant in (
            ("bbo", "bob"), ("alcie", "alice"), ("alce", "alice"), ("carrol", "carol"), ("dace", "dave"), ("BBO", "bob")
        ):  # fmt: skip
            self.assertEqual(nearest(typo, people), meant)

    def test_commands_and_groups(self) -> None:
        """The same guess serves commands and groups."""
        self.assertEqual(nearest("aprove", ["add", "approve", "remove"]), "approve")
        self.assertEqual(nearest("#freinds", iter(["#ops", "#friends"])), "#friends")

    def test_nothing_near(self) -> None:
        """A name like no other, an empty one and an endless one bring no guess."""
        for name in ("zoe", "malik", "", "alice" * 100_000):
            self.assertEqual(nearest(name, ["alice", "bob"]), "")
        self.assertEqual(nearest("bob", []), "")
