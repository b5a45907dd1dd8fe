"""Every refusal chatd can give: a stable code and the fields its sentence needs.

The rule: a refusal is *raised* anywhere below the session and *rendered* in one place. The code is for programs and
never changes; the sentence a person reads is in `chatd.texts`, under the same code.
"""

from __future__ import annotations

from typing import Final

CODES: Final[dict[str, frozenset[str]]] = {
    code: frozenset(fields.split())
    for code, fields in {
        # who you are
        "NAME_TAKEN": "name free",  # free: names that could be had instead
        "BAD_NAME": "name what",  # what: "user" or "group"
        "BAD_PASSWORD": "unmet length",  # unmet: the parts of the policy that are missing, by key (see passwords.unmet)
        "BAD_CERTIFICATE": "name why",  # name: what was typed; why: none, unknown, taken, many, form
        "BAD_LOGIN": "left own",  # left: tries before the name or address is throttled; own: of who is in already
        "THROTTLED": "wait",  # wait: seconds
        "CODE_NEEDED": "uri",  # the second factor; uri: of a new one, as an authenticator scans it, else ""
        "BAD_CODE": "left",
        "FACTOR": "on",  # whether there is a second factor already
        "REG_CLOSED": "",
        "BY_INVITATION": "",
        "BAD_INVITATION": "",
        "NOT_LOGGED_IN": "",
        "GUESTS_ONLY": "name",  # an account has the name it has
        "LOGGED_IN": "name",  # /login or /register by somebody who is in already
        # whom and where
        "NO_USER": "name near",  # near: the closest existing name, or ""
        "NO_GROUP": "room near",
        "NO_ROOM": "sends",  # no room is current; sends: whether something was to be sent there
        "NOT_MEMBER": "room",
        "NOT_THERE": "name room",
        "ALREADY": "name room",
        "SAME_ROLE": "name room role",
        "SELF": "",
        "GROUPS_ONLY": "command room",  # a group's command in a conversation of two
        "PENDING": "at admins",
        "NO_REQUEST": "name room",
        "NO_REQUESTS": "room",  # nobody asks at all
        "BANNED": "room admins",
        "IS_BANNED": "name room",  # somebody else, whom an admin wants to add or ban
        "NOT_BANNED": "name room",
        "INVITE_ONLY": "room admins",
        # who may
        "ONLY_ADMIN": "command room admins",
        "ONLY_OWNER": "command room owner",
        "OWNER_STAYS": "room",
        "OWNER_SAFE": "name room",  # the owner cannot be removed or banned
        "OPERATORS_ONLY": "command",
        # what was sent
        "TOO_LONG": "size limit",
        "LINE_TOO_LONG": "size limit",  # a line past the framing bound, skipped to its end
        "RATE": "wait",
        "QUOTA": "size left",
        "LIMIT": "room",
        "GROUPS_FULL": "name limit",  # name: who is in so many groups; "" for the caller
        "NO_FILE": "file",
        "NOT_YOURS": "file name",  # name: who sent it
        "TICKET": "",
        "FILE_CUT": "size got",  # no more bytes came
        "CHECKSUM": "",  # other bytes came than were told
        "DISK_FULL": "",
        "E2E_ONLY": "room",
        "BAD_USAGE": "usage",
        "UNKNOWN_CMD": "command near",
        "BAD_LINE": "",
        "MID_REUSED": "mid",
        "STALE": "head missing extra",
        "NO_DEVICE": "",  # what this session says to be is no device of the account
        "NO_KEYS": "name",  # who never published any: nothing can be sealed for them
        "BAD_PROOF": "what",  # what: the part of a signed object that does not fit its call
        "SECRET_IN_LINE": "name",
        # the server
        "BUSY": "",
        "FULL": "",  # no connection more: too many, or too much memory
        "CROWDED": "limit",  # none more from this address
        "SLOW": "seconds",  # not logged in in time
        "IDLE": "seconds",  # nothing came for so long
        "DRAINING": "",
        "INTERNAL": "ref",
    }.items()
}


class Refusal(Exception):
    """A call that is not done. Nothing was changed.

    >>> Refusal("NOT_MEMBER", room="#ops").fields
    {'room': '#ops'}
    """

    def __init__(self, code: str, /, **fields: object) -> None:
        if CODES[code] != fields.keys():
            raise TypeError(f"{code} wants {sorted(CODES[code])}, got {sorted(fields)}")
        super().__init__(code, fields)
        self.code = code
        self.fields = fields
