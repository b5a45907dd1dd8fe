"""The commands: one decorated function is one operation.

The rule: an operation is synchronous and runs inside the transaction; it checks, then writes; it knows no sentence, no
dialect, no SQL, no clock and no socket. Importing this package fills the table.
"""

from chatd.commands import (
    account,
    certificates,
    devices,
    factor,
    files,
    groups,
    guests,
    info,
    keys,
    membership,
    now,
    people,
    retention,
    talk,
)

__all__ = [
    "account",
    "certificates",
    "devices",
    "factor",
    "files",
    "groups",
    "guests",
    "info",
    "keys",
    "membership",
    "now",
    "people",
    "retention",
    "talk",
]
