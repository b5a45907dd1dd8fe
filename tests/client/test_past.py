"""Scrolling up: a room's past from the store and from the server, looked at through a window."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from client import formatting
from client.lines import Line
from client.scroll import MOST, Scroll
from tests.client.inmemory import ChatTestCase, Person
from tests.memory import PASSWORD


def line(number: int, rows: int = 1, width: int = 5) -> Line:
    """A line of so many rows."""
    return Line([[("", f"{number}".ljust(width, "x"))] for _ in range(rows)], 0, 7, number)


def wide(number: int, rows: int, width: int) -> Line:
    """The same of wide letters, each of which is there only once."""
    return Line(
        [[("", "".join(chr(0x4E00 + 300 * number + 60 * row + at) for at in range(width)))] for row in range(rows)]
    )


def every_row(lines: list[Line], columns: int) -> list[str]:
    """The rows that these lines take."""
    return [formatting.plain(part) for line in lines for row in line.rows for part in formatting.wrapped(row, columns)]


class ScrollTests(SynchronousTestCase):
    """The window, without a terminal."""

    def shown(self, scroll: Scroll) -> list[int]:
        """The numbers of the lines in the window."""
        return [int(formatting.plain(row).rstrip("x")) for row in scroll.shown()]

    def test_pages(self) -> None:
        """Each page overlaps the one before by a line; at the beginning the window stays full."""
        scroll = Scroll()
        scroll.size = (80, 4)
        scroll.older([line(number) for number in range(1, 11)])
        self.assertEqual(self.shown(scroll), [7, 8, 9, 10])
        scroll.up()
        self.assertEqual(self.shown(scroll), [4, 5, 6, 7])
        for _ in range(3):
            scroll.up()
        self.assertEqual(self.shown(scroll), [1, 2, 3, 4])
        scroll.up(1)
        self.assertEqual(self.shown(scroll), [1, 2, 3, 4])
        self.assertTrue(scroll.down(1))
        self.assertEqual(self.shown(scroll), [2, 3, 4, 5])
        self.assertTrue(scroll.down())
        self.assertEqual(self.shown(scroll), [5, 6, 7, 8])
        self.assertTrue(scroll.down())
        self.assertFalse(scroll.down())
        self.assertEqual(self.shown(scroll), [7, 8, 9, 10])

    def test_what_comes_above_moves_nothing(self) -> None:
        """Older lines that arrive stand above; what is looked at stays."""
        scroll = Scroll()
        scroll.size = (80, 4)
        scroll.older([line(number) for number in range(11, 21)])
        scroll.up()
        before = self.shown(scroll)
        scroll.older([line(number) for number in range(1, 11)])
        self.assertEqual(self.shown(scroll), before)

    @given(
        st.lists(st.tuples(st.integers(1, 3), st.integers(3, 60)), min_size=1, max_size=40),
        st.tuples(st.integers(5, 40), st.integers(1, 10)),
        st.lists(st.sampled_from(["up", "down", "one up", "one down", "start", "end", "smaller"]), max_size=20),
    )
    def test_any_way_through(self, shapes: list[tuple[int, int]], size: tuple[int, int], moves: list[str]) -> None:
        """However one goes, the window shows a stretch of the rows in order, and is full if it can be."""
        lines = [wide(number, rows, width) for number, (rows, width) in enumerate(shapes, 1)]
        scroll = Scroll()
        scroll.size = size
        scroll.older(lines)
        for move in moves:
            match move:
                case "up":
                    scroll.up()
                case "down":
                    scroll.down()
                case "one up":
                    scroll.up(1)
                case "one down":
                    scroll.down(1)
                case "start":
                    scroll.to_start()
                case "end":
                    scroll.to_end()
                case "smaller":
                    scroll.size = (max(5, scroll.size[0] - 7), max(1, scroll.size[1] - 2))
                    scroll.settle()
            rows = every_row(lines, scroll.size[0])
            seen = [formatting.plain(row) for row in scroll.shown()]
            first = rows.index(seen[0])
            self.assertEqual(seen, rows[first : first + scroll.size[1]])
            self.assertEqual(len(seen), min(len(rows), scroll.size[1]))

    def test_every_row_is_passed(self) -> None:
        """From the end to the beginning and back by pages, no row is left out, even of lines taller than the window."""
        scroll = Scroll()
        scroll.size = (20, 6)
        lines = [wide(number, 1 + number % 5, 5 + number * 7 % 55) for number in range(1, 60)]
        scroll.older(lines)
        up: list[str] = []
        for _ in range(200):
            up += map(formatting.plain, scroll.shown())
            scroll.up()
        down = [*map(formatting.plain, scroll.shown())]
        while scroll.down():
            down += map(formatting.plain, scroll.shown())
        rows = every_row(lines, 20)
        self.assertEqual((set(up), list(dict.fromkeys(down))), (set(rows), rows))

    def test_bounded(self) -> None:
        """However far one scrolls, only so many lines are held; those near the window are among them."""
        scroll = Scroll()
        for page in range(50):
            scroll.older([line(number) for number in range(100_000 - page * 100, 100_100 - page * 100)])
            scroll.to_start()
            self.assertLessEqual(len(scroll.lines), MOST)
            self.assertEqual(self.shown(scroll)[0], 100_000 - page * 100)
        for _ in range(30):
            last = scroll.lines[-1].seq
            scroll.newer([line(number) for number in range(last + 1, last + 101)])
            scroll.to_end()
            self.assertEqual(self.shown(scroll)[-1], last + 100)
        self.assertLessEqual(len(scroll.lines), MOST + 100)


class PastTests(ChatTestCase):
    """Where the lines come from."""

    def pair(self) -> tuple[Person, Person]:
        """Bob and alice, both in #ops, which the server can read: what this device never heard can be had."""
        bob, alice = self.person("bob"), self.person("alice")
        bob.type("/create --open #ops alice")
        alice.type("/join #ops")
        return bob, alice

    def page(self, person: Person, before: int, count: int) -> tuple[list[Any], bool]:
        """A page: what was said or happened, and whether there is nothing older."""
        shown: list[tuple[list[dict[str, Any]], bool]] = []
        place = person.chat.view.place
        assert place is not None
        person.chat.past.page(place.id, before, count, lambda events, whole: shown.append((events, whole)))
        self.settle()
        ((events, whole),) = shown
        return [(event["seq"], event.get("text") or event["ev"]) for event in events], whole

    def all_pages(self, person: Person, count: int) -> list[Any]:
        """All there is, page by page, from the newest."""
        found: list[Any] = []
        before, whole = person.chat.view.cursor + 1, False
        while not whole:
            page, whole = self.page(person, before, count)
            self.assertTrue(page or whole)
            found[:0] = page
            before = found[0][0] if found else 0
        return found

    def lines(self, person: Person, *texts: str) -> None:
        """Say these."""
        for text in texts:
            person.type(text)

    def test_from_the_store(self) -> None:
        """What this device has heard needs no server: it is there while the cable is pulled."""
        bob, _ = self.pair()
        self.lines(bob, *(f"line {number}" for number in range(30)))
        bob.pull()
        page, whole = self.page(bob, bob.chat.view.cursor + 1, 10)
        self.assertEqual([text for _, text in page], [f"line {number}" for number in range(20, 30)])
        self.assertFalse(whole)
        everything = self.all_pages(bob, 7)
        self.assertEqual([text for _, text in everything][-30:], [f"line {number}" for number in range(30)])

    def test_a_new_device(self) -> None:
        """Another device has none of it: it is fetched page by page, once, and then is here."""
        bob, alice = self.pair()
        self.lines(bob, *(f"line {number}" for number in range(40)))
        alice.type("/topic no")
        bob.type("/topic yes")
        known = self.all_pages(bob, 100)
        other = Person(self, "other")
        for typed in ("l", "bob", PASSWORD):
            other.type(typed)
        self.lines(bob, "afterwards")
        known += self.all_pages(bob, 100)[-1:]
        found = self.all_pages(other, 8)
        self.assertEqual(found, known)
        other.pull()
        self.assertEqual(self.all_pages(other, 9), found)

    def test_a_gap(self) -> None:
        """What was missed between two logins is fetched, too, and what lies here from before is not mistaken for it."""
        bob, alice = self.pair()
        self.lines(bob, "one", "two")
        bob.type("/logout")
        for number in range(300):
            alice.type(f"meanwhile {number}")
        for typed in ("l", "bob", PASSWORD):
            bob.type(typed)
        alice.type("live")
        texts = [text for _, text in self.all_pages(bob, 50)]
        wanted = ["one", "two", *(f"meanwhile {number}" for number in range(300)), "live"]
        self.assertEqual([text for text in texts if text in wanted], wanted)

    def test_offline(self) -> None:
        """Without a connection there is what is here, and it is said to be all."""
        bob, _ = self.pair()
        self.lines(bob, *(f"line {number}" for number in range(5)))
        other = Person(self, "other")
        for typed in ("l", "bob", PASSWORD):
            other.type(typed)
        other.pull()
        self.assertEqual(self.page(other, other.chat.view.cursor + 1, 10), ([], True))

    def test_the_cable_is_pulled_while_it_comes(self) -> None:
        """A page whose answer is cut off is shown as far as it is here."""
        bob, _ = self.pair()
        other = Person(self, "other")
        for typed in ("l", "bob", PASSWORD):
            other.type(typed)
        place = other.chat.view.place
        assert place is not None
        shown: list[bool] = []
        other.chat.past.page(place.id, 1 << 40, 10, lambda events, whole: shown.append(whole))
        other.pull()
        self.assertEqual(shown, [True])
        bob.type("still well")

    def test_history_pages(self) -> None:
        """`/history` once more shows what is older, until there is nothing; another command begins anew."""
        bob, _ = self.pair()
        self.lines(bob, *(f"line {number}" for number in range(120)))

        def history(typed: str = "/history") -> list[str]:
            before = len(bob.seen)
            bob.type(typed)
            return [row.rpartition(": ")[2] for row in bob.seen[before:]]

        older = "(/history once more shows what is older)"
        self.assertEqual(history(), [older, *(f"line {number}" for number in range(70, 120))])
        self.assertEqual(history(), [older, *(f"line {number}" for number in range(20, 70))])
        self.assertEqual(history(), [f"line {number}" for number in range(20)])
        self.assertEqual(history("/history 3"), [older, "line 117", "line 118", "line 119"])
        self.assertEqual(history()[-1], "line 116")
        bob.type("/members")
        self.assertEqual(history()[-1], "line 119")
