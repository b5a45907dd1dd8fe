"""The tables."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chatd.wire.irc import terms
from chatd.wire.irc.verbs import VERBS


class NumericTests(SynchronousTestCase):
    """The tables."""

    def test_no_sentence_is_lost(self) -> None:
        """Every numeric in the tables is three digits."""
        for number, _ in [*terms.NUMERICS.values(), *terms.BY_COMMAND.values()]:
            self.assertTrue(re.fullmatch(r"\d{3}", number))

    def test_everything_is_tried(self) -> None:
        """Each numeric that can be said, and each verb, stands in one of these tests."""
        here = Path(__file__).parent
        tried = set(re.findall(r"\b(?:\d{3}|[A-Z]+)\b", "".join(p.read_text("utf-8") for p in here.glob("test_*.py"))))
        dialect = Path(terms.__file__).parent
        said = set(re.findall(r'"(\d{3})"', "".join(p.read_text("utf-8") for p in dialect.glob("*.py"))))
        self.assertEqual((said | VERBS.keys()) - tried, set())
