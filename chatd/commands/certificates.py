"""Logging in by a client certificate, which its owner has registered before: what IRC calls SASL EXTERNAL.

The rule: a certificate is known by the SHA-256 of it alone; who signed it, whom it names and when it ends mean nothing.
That its key is there the handshake has proved: who shows a certificate may take it from an account that has only named
it. It ends with the sessions where all of them are ended.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from chatd.command import command
from chatd.commands.account import COMING_BACK, arrival, welcome
from chatd.errors import Refusal
from chatd.model import Me, Reply
from chatd.rules import Needs

if TYPE_CHECKING:
    from chatd.store import Tx

MOST: Final = 10
"""Certificates of one account."""
_SHA256: Final = re.compile("[0-9a-f]{64}")


@command("/cert [what] [which]", topic="")
def cert(tx: Tx, me: Me, what: str | int = "", which: str | int = "") -> Reply:
    """The client certificates that log you in by TLS: add the one this connection came with, or that of a SHA-256, or
    drop one by its number."""
    held = tx.certificates(me.account)
    if what == "":
        listed = [
            {"n": n, "fingerprint": each.fingerprint, "added": each.added, "this": each.fingerprint == me.certificate}
            for n, each in enumerate(held, 1)
        ]
        return Reply("certificates", {"certificates": listed})
    if what == "add":
        fingerprint = _fingerprint(me, str(which))
        holder = tx.holder(fingerprint)
        if holder and (holder == me.account or fingerprint != me.certificate):
            raise Refusal("BAD_CERTIFICATE", why="taken", name=fingerprint)
        if len(held) >= MOST:
            raise Refusal("BAD_CERTIFICATE", why="many", name=str(MOST))
        tx.add_certificate(me.account, fingerprint)
        return Reply("certificate_added", {"fingerprint": fingerprint})
    number = int(which) if str(which).isdecimal() and len(str(which)) < 6 else 0
    if what != "drop" or not 1 <= number <= len(held):
        raise Refusal("BAD_USAGE", usage="/cert [add SHA256|drop N]")
    tx.drop_certificate(me.account, held[number - 1].fingerprint)
    return Reply("certificate_dropped", {"fingerprint": held[number - 1].fingerprint})


def _fingerprint(me: Me, typed: str) -> str:
    """The SHA-256 that is meant, in hex; none typed is that of this connection."""
    if not typed:
        if not me.certificate:
            raise Refusal("BAD_CERTIFICATE", why="none", name="")
        return me.certificate
    found = typed.lower().replace(":", "")
    if not _SHA256.fullmatch(found):
        raise Refusal("BAD_CERTIFICATE", why="form", name=typed[:80])
    return found


@command("/external [name]", needs=Needs.NOTHING, topic="", after=arrival, optional=COMING_BACK)
def external(tx: Tx, me: Me, name: str | int = "", **coming: Any) -> Reply:
    """Log in by the certificate that this connection came with (programs)."""
    if me.account:
        raise Refusal("LOGGED_IN", name=me.name)
    if not me.certificate:
        raise Refusal("BAD_CERTIFICATE", why="none", name="")
    account = tx.certified(me.certificate)
    if account is None or (name and str(name).lower() != account.name):
        raise Refusal("BAD_CERTIFICATE", why="unknown", name=me.certificate)
    return welcome(tx, me, account, **coming)
