"""A histogram that costs a bisection and two additions.

The rule: whoever measures writes here, whoever shows reads here (metrics.py), and neither knows the other.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
SIZES: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0)


class Histogram:
    """How many observations fell up to each bound, and their sum; as Prometheus counts them."""

    __slots__ = ("_counts", "bounds", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.total = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, value: float) -> None:
        """One more."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """By upper bound, each including those below: `[("0.001", 3), …, ("+Inf", 17)]`."""
        found, sum_ = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self._counts, strict=True):
            sum_ += count
            found.append((bound, float(sum_)))
        return found
