"""How `chat` looks. The rule: the classes are those that lines.py and formatting.py name; a theme only colours them."""

from __future__ import annotations

from typing import Final

_BASE: Final = {
    "bold": "bold",
    "italic": "italic",
    "strike": "strike",
    "link": "underline",
    "mention": "bold",
    "prompt": "bold",
}
_ON_DARK: Final = ("#5fafff", "#87d75f", "#ffaf5f", "#ff87af", "#5fd7d7", "#d7af5f", "#af87ff", "#87d7af", "#ff8787",
                   "#afd7ff", "#d7d787", "#d787d7")  # fmt: skip
_ON_LIGHT: Final = ("#005faf", "#3f7f00", "#af5f00", "#af005f", "#007f7f", "#7f5f00", "#5f00d7", "#00875f", "#af0000",
                    "#005f87", "#5f5f00", "#870087")  # fmt: skip


def _coloured(people: tuple[str, ...], quiet: str, notice: str, error: str, code: str, mention: str) -> dict[str, str]:
    return _BASE | {
        **{f"person{number}": colour for number, colour in enumerate(people)},
        "time": quiet,
        "day": quiet,
        "mark": quiet,
        "event": quiet,
        "echo": quiet,
        "room": notice,
        "notice": notice,
        "progress": notice,
        "error": error,
        "offline": error,
        "online": notice,
        "code": code,
        "mention": f"bold {mention}",
    }


_DARK: Final = _coloured(_ON_DARK, "#808080", "#87afaf", "#ff8700", "#d7d7af", "#ffff5f")
_LIGHT: Final = _coloured(_ON_LIGHT, "#767676", "#005f5f", "#af3f00", "#5f5f00", "#af0000")

THEMES: Final[dict[str, dict[str, str]]] = {
    "dark": _DARK,
    "light": _LIGHT,
    "classic": _DARK | {"bottom-toolbar": "noreverse #ff0000", "bottom-toolbar.text": "noreverse #ff0000"},
    "none": _BASE,
}
