"""The tables."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from chatd.wire.irc import terms


class NumericTests(SynchronousTestCase):
    """The tables."""

    def test_no_sentence_is_lost(self) -> None:
        """Every numeric in the tables is three digits."""
        for number, _ in [*terms.NUMERICS.values(), *terms.BY_COMMAND.values()]:
            self.assertTrue(re.fullmatch(r"\d{3}", number))
