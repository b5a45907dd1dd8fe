"""Emoji by name, `:rocket:`: the names of Unicode itself, and the short ones that people type.

The rule: a text is stored and sent as typed; names become pictures only when shown.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Final

BLOCKS: Final = (range(0x1F300, 0x1F650), range(0x1F680, 0x1F700), range(0x1F900, 0x1FA00), range(0x1FA70, 0x1FB00))
SHORT: Final = {
    "smile": "😄", "grin": "😁", "joy": "😂", "rofl": "🤣", "wink": "😉", "blush": "😊", "heart": "❤️", "cry": "😢",
    "sob": "😭", "thinking": "🤔", "sunglasses": "😎", "+1": "👍", "-1": "👎", "thumbsup": "👍", "thumbsdown": "👎",
    "clap": "👏", "wave": "👋", "pray": "🙏", "ok_hand": "👌", "muscle": "💪", "eyes": "👀", "tada": "🎉", "fire": "🔥",
    "100": "💯", "boom": "💥", "zap": "⚡", "star": "⭐", "check": "✅", "x": "❌", "warning": "⚠️", "coffee": "☕",
    "beer": "🍺", "pizza": "🍕", "cake": "🍰", "bug": "🐛", "cat": "🐱", "dog": "🐶", "penguin": "🐧", "robot": "🤖",
    "ghost": "👻", "skull": "💀", "sun": "☀️", "moon": "🌙", "snowflake": "❄️", "lock": "🔒", "key": "🔑",
}  # fmt: skip
_NAMED: Final = re.compile(r":([a-z0-9_+-]{1,40}):")


@cache
def names() -> dict[str, str]:
    """Every emoji by its name; made when first asked for."""
    found = {}
    for block in BLOCKS:
        for point in block:
            name = unicodedata.name(chr(point), "")
            if name and not name.startswith("EMOJI MODIFIER"):
                found[name.lower().replace(" ", "_").replace("-", "_")] = chr(point)
    return found | SHORT


def shown(text: str) -> str:
    """`text` with the names of emoji replaced by them.

    >>> shown("to the moon :rocket:, at 10:30:00")
    'to the moon 🚀, at 10:30:00'
    """
    if text.count(":") < 2:
        return text
    return _NAMED.sub(lambda match: SHORT.get(match[1]) or names().get(match[1], match[0]), text)


def starting(prefix: str, most: int = 20) -> list[tuple[str, str]]:
    """The emoji whose names begin so, the shortest first: (name, emoji)."""
    found = [(name, picture) for name, picture in names().items() if name.startswith(prefix)]
    return sorted(found, key=lambda pair: (pair[0] not in SHORT, len(pair[0]), pair[0]))[:most]
