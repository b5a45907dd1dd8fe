"""What IRC calls things: numerics, capabilities, what the server says it supports, and which refusal is which numeric.

The rule: tables only. Numerics and their parameters are those of the Modern IRC documents; capabilities are IRCv3's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from chatd.command import LONGEST_NAME, Settings
from chatd.model import Door

SERVICE: Final = "chatd"
"""The name under which the server takes commands and says what no verb of IRC says. No account can have it."""
TARGETS: Final = 4
"""How many people or groups one line may be sent to."""
MODES: Final = 4
"""How many modes one line may change."""
MULTILINE_BYTES: Final = 4_000
MULTILINE_LINES: Final = 100
OFFLINE: Final = "offline: reads it later"
"""What somebody who is not connected is away for."""

CAPS: Final[dict[str, str]] = {
    "account-notify": "",
    "account-tag": "",
    "away-notify": "",
    "batch": "",
    "cap-notify": "",
    "draft/account-registration": "before-connect,custom-account-name",
    "draft/chathistory": "",
    "draft/event-playback": "",
    "draft/multiline": f"max-bytes={MULTILINE_BYTES},max-lines={MULTILINE_LINES}",
    "draft/read-marker": "",
    "echo-message": "",
    "extended-join": "",
    "invite-notify": "",
    "labeled-response": "",
    "message-tags": "",
    "multi-prefix": "",
    "sasl": "PLAIN",
    "server-time": "",
    "standard-replies": "",
    "userhost-in-names": "",
}
"""What is offered, and the value that CAP LS 302 shows."""
RENDERING: Final = frozenset(
    {
        "account-tag",
        "away-notify",
        "batch",
        "draft/multiline",
        "extended-join",
        "invite-notify",
        "message-tags",
        "server-time",
    }
)
"""Capabilities with which an event looks different: they are the shape."""

DOOR_MODES: Final = {Door.OPEN: "", Door.ASK: "A", Door.INVITE: "i"}
"""The mode that says who may enter."""
MODE_DOORS: Final = {"A": Door.ASK, "i": Door.INVITE}
ALWAYS: Final = "nt"
"""Modes that every group has and that cannot be changed: only members speak, only admins set the topic."""


def isupport(settings: Settings) -> list[str]:
    """The tokens of 005: what is true here."""
    limits = settings.limits
    return [
        f"AWAYLEN={min(limits.away_characters, 400)}",
        "CASEMAPPING=ascii",
        f"CHANLIMIT=#:{limits.groups_per_account}",
        f"CHANMODES=b,,,Ai{ALWAYS}",
        f"CHANNELLEN={LONGEST_NAME + 1}",
        "CHANTYPES=#",
        f"CHATHISTORY={limits.history_lines_most}",
        "CLIENTTAGDENY=*,-typing,-draft/typing",
        "ELIST=MNU",
        f"KICKLEN={min(limits.reason_characters, 300)}",
        "LINELEN=512",
        f"MAXLIST=b:{limits.group_members}",
        f"MAXTARGETS={TARGETS}",
        f"MODES={MODES}",
        f"MONITOR={limits.monitored_people}",
        "MSGREFTYPES=msgid,timestamp",
        f"NETWORK={settings.server}",
        f"NICKLEN={LONGEST_NAME}",
        "PREFIX=(o)@",
        "SAFELIST",
        "STATUSMSG=",
        f"TARGMAX=JOIN:,KICK:{TARGETS},LIST:,MONITOR:,NAMES:,NOTICE:{TARGETS},PART:,"
        f"PRIVMSG:{TARGETS},TAGMSG:{TARGETS},WHOIS:1",
        f"TOPICLEN={min(limits.topic_characters, 390)}",
        f"USERLEN={LONGEST_NAME}",
        "UTF8ONLY",
        "WHOX",
    ]


Params = Callable[[Mapping[str, Any], list[str]], list[str]]


def _target(fields: Mapping[str, Any], params: list[str]) -> list[str]:
    """What the refusal is about: the room or the name it holds, else what was sent."""
    for name in ("room", "name"):
        if fields.get(name):
            return [str(fields[name]).removeprefix("@")]
    return params[:1]


def _nobody(fields: Mapping[str, Any], params: list[str]) -> list[str]:
    return []


def _name_room(fields: Mapping[str, Any], params: list[str]) -> list[str]:
    return [str(fields["name"]), str(fields["room"])]


NUMERICS: Final[dict[str, tuple[str, Params]]] = {
    "NO_USER": ("401", _target),
    "NO_GROUP": ("403", _target),
    "NOT_MEMBER": ("442", _target),
    "NOT_THERE": ("441", _name_room),
    "ALREADY": ("443", _name_room),
    "LIMIT": ("471", _target),
    "GROUPS_FULL": ("405", lambda fields, params: params[:1]),
    "INVITE_ONLY": ("473", _target),
    "BANNED": ("474", _target),
    "ONLY_ADMIN": ("482", _target),
    "ONLY_OWNER": ("482", _target),
    "BAD_LOGIN": ("464", _nobody),
    "THROTTLED": ("464", _nobody),
    "NAME_TAKEN": ("433", _target),
    "NOT_LOGGED_IN": ("451", _nobody),
    "LOGGED_IN": ("462", _nobody),
    "LINE_TOO_LONG": ("417", _nobody),
}
"""By code of the refusal: the numeric, and what stands before its text. What is not here is a standard reply."""
BY_COMMAND: Final[dict[tuple[str, str], tuple[str, Params]]] = {
    ("PRIVMSG", "NOT_MEMBER"): ("404", _target),
    ("PRIVMSG", "BAD_NAME"): ("403", _target),
    ("JOIN", "BAD_NAME"): ("403", _target),
    ("MODE", "BAD_NAME"): ("403", _target),
    ("PART", "BAD_NAME"): ("403", _target),
    ("TOPIC", "BAD_NAME"): ("403", _target),
    ("KICK", "BAD_NAME"): ("403", _target),
    ("INVITE", "BAD_NAME"): ("403", _target),
    ("NICK", "BAD_NAME"): ("432", _target),
    ("CONNECT", "BAD_NAME"): ("432", _target),
    ("AUTHENTICATE", "BAD_LOGIN"): ("904", _nobody),
    ("AUTHENTICATE", "THROTTLED"): ("904", _nobody),
}
"""Where a command has a numeric of its own."""
ENDING: Final = frozenset({"FULL", "CROWDED", "SLOW", "IDLE"})
"""Refusals with which a connection ends: said by ERROR."""
PLAIN_WORDS: Final = {"401": "No such nick/channel", "403": "No such channel"}
"""Numerics whose text clients look at."""
