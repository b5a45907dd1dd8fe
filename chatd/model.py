"""The records everything else passes around: frozen, without behaviour.

The rule: nothing here knows a socket, a database or a sentence. Times are milliseconds since 1970 UTC, ids are positive
integers that are never reused, `seq` is the position in the one log.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from chatd.command import Settings
    from chatd.errors import Refusal


class Role(IntEnum):
    """What an account is in a room. A higher role may do all that a lower one may."""

    NONE = 0
    MEMBER = 1
    ADMIN = 2
    OWNER = 3


class Door(StrEnum):
    """Who may enter a group: anybody, on approval, by `/add` only."""

    OPEN = "open"
    ASK = "ask"
    INVITE = "invite"


class Kind(StrEnum):
    """What a room is: a group `#ops`, a direct conversation of two, an account's own inbox."""

    GROUP = "group"
    DIRECT = "direct"
    INBOX = "inbox"


class Account(NamedTuple):
    """Somebody. `name` is folded; a deleted account keeps its id and shows as `DELETED`."""

    id: int
    name: str


DELETED = "deleted account"


class Room(NamedTuple):
    """A room as one viewer sees it: `name` is `#ops`, `@bob` (the other one of a direct conversation) or "" (inbox)."""

    id: int
    kind: Kind
    name: str
    sealed: bool
    role: Role = Role.NONE
    door: Door = Door.ASK


class Bounds(NamedTuple):
    """How long (s) messages are kept, and how many of the newest of a room; None: no such bound."""

    seconds: int | None = None
    lines: int | None = None


class Event(NamedTuple):
    """One thing that happened, as it stands in the log.

    `by` did it and `who` it was done to (0: nobody); their names are resolved when the event is read, so that an erased
    account's name stands nowhere in the log. `text` is the part a person typed. `data` is the rest, by kind
    (docs/protocol.md). `sealed` and `proof` are base64 that the server never opens.
    """

    seq: int
    at: int
    kind: str
    room: int
    by: int
    who: int
    by_name: str
    who_name: str
    mid: str | None
    text: str | None
    data: Mapping[str, Any] | None
    sealed: str | None
    proof: str | None


class Envelope(NamedTuple):
    """What lets one device open one message (`seq`, in `room`), or what a device has to say to another alone (None).

    `n` grows with time. `device` is whose it is, by its row; `sender` is the id of the device that made it, `by` whose
    device that is. `body` is base64 that the server never opens.
    """

    n: int
    device: int
    seq: int | None
    room: int | None
    by: int
    by_name: str
    sender: str
    at: int
    body: str


class Call(NamedTuple):
    """What one line asks for: a command of the table and its arguments by name, as typed.

    `room` is `#ops`, `@bob`, a room id or None (the current one). `asked` holds the arguments that a question brought.
    `ref` is the dialect's handle for the answer and means nothing here. `confirmed`: do not ask back.
    """

    verb: str
    args: Mapping[str, Any]
    room: str | int | None = None
    mid: str | None = None
    ref: Any = None
    asked: tuple[str, ...] = ()
    confirmed: bool = False


class Me(NamedTuple):
    """On whose behalf a call runs, and under which settings.

    `account` 0 is nobody yet; `room` 0 is no current room; `login` is the login's row (0: it is no session's call).
    `here`: where this connection came to: host, port, and whether by TLS. `certificate`: the SHA-256
    of the one that the client showed ("": none). `device` is the row of the account's device that this session is,
    `device_id` its id; 0: it is none, and can neither open nor sign anything.
    """

    account: int
    name: str
    room: int
    login: int
    address: str
    settings: Settings
    operator: bool = False
    here: tuple[str, int, bool] = ("", 0, False)
    certificate: str = ""
    device: int = 0
    device_id: str = ""


class Reply(NamedTuple):
    """What a call answers: the name of its sentence in `texts`, and the fields, which are the json answer."""

    name: str
    fields: Mapping[str, Any]
    turn: Turn | None = None


class Turn(NamedTuple):
    """What a reply changes in the session that asked: who it is, where it is, whether it ends. None: unchanged.

    And what of it is true only now: it wants to `watch`, is `typing` in that room, or its account looks different to
    others (`stirs`); it wants to hear of people of these names, whose account this is (`monitor`); its account has read
    that room up to that time in ms (`marked`).
    """

    account: Account | None = None
    login: int = 0
    room: Room | None = None
    leave_room: bool = False
    logout: bool = False
    close: bool = False
    since: int | None = None
    operator: bool = False
    watch: bool = False
    typing: int = 0
    stirs: bool = False
    monitor: Mapping[str, int] | None = None
    marked: tuple[int, int] | None = None
    device: tuple[int, str] | None = None


class Ask(NamedTuple):
    """An argument is missing: the plain dialect asks for it and repeats the call with it; programs get `refusal`, or
    BAD_USAGE.

    The field "confirmed" is a yes or no; on yes the call is repeated with `confirmed` set. `prompt` names the
    question in `texts` and `fields` fills it. `secret`: not echoed. `many`: asked again until an empty line or `-1`.
    `lead` is shown above the question.
    """

    field: str
    prompt: str
    fields: Mapping[str, Any]
    secret: bool = False
    many: bool = False
    lead: Reply | None = None
    refusal: Refusal | None = None
