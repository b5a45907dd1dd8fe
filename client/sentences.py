"""What `chat` says by itself. The server's sentences are in chatd/texts/, and nothing stands in both.

The rule: the words are FEATURES.md's where it has them.
"""

from __future__ import annotations

from chatd.texts import clean

HINT = "Type to talk. /help for commands, Tab completes, /quit leaves."
COMING = "Server is shutting down. Waiting to reconnect, Ctrl-C to quit."
PIN = "The server's certificate is not the pinned one. Not connecting."
NOT_SIGNED = "The server's certificate is not signed for its name by {authority}. Not connecting."
PINNED = "First time here: the certificate of {where} is remembered. SHA-256: {pin}"
RESTORED = "The server was restored from a backup: what came after that was made is lost there, and stays here only."
SOMEBODY = "The server takes you for somebody else than before. Not connecting."
NOT_NOW = "Offline. Commands are not queued: nothing was done."
NOT_SENT = "Not sent: "
KEY_IN_CLEAR = "The key of this profile lies in {path}, readable by you alone. chat --passphrase protects it better."
IN_USE = 'Profile "{name}" is in use by another chat. For a second person: chat --profile NAME'
LOCKED = 'Profile "{name}" is protected by a passphrase, and this one is wrong.'
NO_PASSPHRASE = "No passphrase was given."
DIFFER = "The two passphrases differ."
OTHER_SERVER = (
    "This profile is for {server}. For another server: chat --profile NAME {host}\n"
    "If it is the same one, under another name or elsewhere: chat --moved {host}"
)
LOG_IN_FIRST = "Not logged in. Start chat once and log in: chat{profile}"
NO_SUCH_ROOM = "You are not in {name}. /join {name}"
NO_UNREAD = "Nothing unread."
NOT_EXPORTED = "Not exported to {path}: {why}"
EXPORT_CUT = "the connection was cut. Nothing is left behind; /export again."
NOT_WAITING = "The input has ended, and {where} was never reached: not waiting for it."
NOT_A_TERMINAL = "This is no terminal: going on line by line, as with --plain."

OLDER = "(/history once more shows what is older)"
PAGER = " {room}  {day}  Page-Up, Page-Down, Home; q goes back  {more}"
LOADING = "(loading)"
OLDEST = "(the beginning)"
AWAY = "away: {names}"
YOU = "you"
IS_OFFLINE = "{name} is offline"

RECOVERY = "Recovery code, shown once, write it down: {code}"
UNLINKED = "This device is new: sealed rooms cannot be read or written here yet. /devices"
LINK = (
    "This device is new: sealed rooms cannot be read or written here yet.\n"
    "On your first device type: /device add {code}\n"
    "Or here, with your recovery code: /recover"
)
LINKED = "This device is one of yours now."
ASKS = "A new device asks to be one of yours. If it is: /device add CODE, with the code that it shows."
ADDED = "Added. What is written from now on can be read there, too."
REVOKED = "Revoked: {device}. It is logged out and can read nothing that is written from now on."
REVOKE = "Revoke {device}? It is logged out. [y/N] "
NO_SUCH_CODE = "No device asks with that code. Compare it with what the new device shows."
NO_SUCH_DEVICE = "No such device: {number}. /devices"
NOT_PRIMARY = "Only a device with your account key can do that: your first one, or one where /recover was done."
NOT_THIS_ONE = "This is the device you sit at. Revoke it from another one."
THIS_DEVICE = "  (this one)"
DEVICE_USAGE = "Usage: /device add CODE, or /device revoke NUMBER"
CODE = "Recovery code: "
CODE_IN_LINE = "Do not type the code in a command. Use: /recover"
WRONG_CODE = "That is not your recovery code."
NO_VAULT = "Nothing is kept here that a recovery code would open. New keys, which everybody will see: /recover new"
RECOVERED = "Your keys are back. Devices that you have lost: /devices"
ANEW = "Make new keys? Everybody you talk with is told that your key changed. [y/N] "
NO_KEYS_SERVER = "This server has no keys."
UNLINKED_YET = "This device is none of yours yet. /devices"
WHOSE = "Whose? For instance: /{do} bob"
OWN_NUMBER = "That is you. Compare the number with somebody else."
SAFETY = "Safety number of you and {name} ({state}):"
COMPARE = "Compare it with {name}, side by side or by voice. The same? /verify {name}"
TRUST = {
    "tofu": "not compared yet",
    "verified": "verified",
    "changed": "{name}'s key changed",
}
DIGITS = "The 60 digits that {name} sees: "
NO_DIGITS = "A safety number has 60 digits, these are {count}."
OTHER_DIGITS = "That is not the number of the key that this server shows for {name}. Do not trust it: /safety {name}"
IS_VERIFIED = "{name} is verified."
NOT_CHANGED = "{name}'s key has not changed."
WAS_VERIFIED = "You had verified {name}. Compare the new number: /safety {name}, then /verify {name}"
ACCEPTED = "{name}'s new key is accepted. Better compare it: /safety {name}"
SOMEBODY_ELSE = "Warning: the server shows somebody else as {name} than before. Nothing was done."
KEYS = "{name}: {state}. Devices:"
NOT_SETTLED = "The keys of this device are being made known."
NO_KEYS = "{name} has no keys here. /dm --open {name} talks in clear: the server can read it."
IN_CLEAR = "{name} has no keys here: this goes in clear, the server can read it."
NO_KEYS_HERE = "{name} has no keys here and cannot be in a sealed group."
OTHER_KEY = "{name} asks with a key that is not the one known here: not let in. Compare: /safety {name}"
KEY_CHANGED = "{name}'s key changed; nothing is sent until /accept {name} or /verify {name}."
NEWS = {
    "device": "{name} has a new device.",
    "revoked": "{name} has revoked a device.",
    "key": KEY_CHANGED,
    "rolled_back": "Warning: the server shows an old list of {name}'s devices. It is not believed.",
    "forked": "Warning: the server shows two different lists of {name}'s devices. The new one is not believed.",
    "forged": "Warning: the server shows keys of {name} that {name} has not signed. They are not used.",
}
OWN_NEWS = {
    "device": "Your account has a new device. If it is not yours: /devices",
    "revoked": "A device of yours was revoked.",
    "key": "Your account has another key now: keys were made anew somewhere else.",
}
INSTEAD = {
    "waiting": "(cannot be opened on this device)",
    "changed": "({name}'s key changed; this is shown after /accept {name} or /verify {name})",
    "stranger": "(not shown: {name} was not a member)",
    "out_of_place": "(not shown: out of its place)",
    "again": "(not shown: this was said before)",
    "fork": "(not shown: the server tells two stories)",
}
UNOPENED = "({count:,} messages cannot be opened on this device)"
NOT_SHOWN = "(not shown: this is not what {name} sent)"
WARNED = {
    "undecryptable": "Something from {name} could not be opened. It is asked for again.",
    "ghost": "Warning: the server names a device of {name} that {name} has not signed. It gets nothing.",
    "revoked": "Something came from a device that {name} has revoked. It is not shown.",
    "gap": "Warning: something that {name} said before this in {room} has not come.",
    "out_of_place": "Warning: the line above is out of its place; it was sent earlier.",
    "again": "Warning: something of {name}'s was sent to you twice. It is shown once.",
    "unsigned": "Warning: the server says that {room} has changed, and no admin has signed it. It is not believed.",
    "fork": "Warning: the server shows different histories of {room}. Nothing is sent there.",
    "changed": KEY_CHANGED,
}
CALLED_OPEN = "Warning: the server calls {room} open. It is sealed, and nothing is said there in clear."
GONE = "{name} (gone, says the server)"
MISNAMED = "Warning: the server has called {room} {was}. Nothing was said there."
HIDDEN = "Warning: the server shows no keys of {name} any more. Nothing is said to {name} in clear."
FORGED = "Warning: something in {room} is not what {name} sent. It is not shown."


def instead(warn: str, name: str) -> str:
    """What stands in the place of a message that is not shown."""
    return INSTEAD.get(warn, NOT_SHOWN).format(name=name)


def warned(warn: str, name: str, room: str) -> str:
    """A warning about a message or a room."""
    return WARNED.get(warn, FORGED).format(name=name or "somebody", room=room or "this conversation")


def news(what: str, name: str, *, own: bool) -> str | None:
    """News about somebody's keys; None: nothing to be said."""
    text = OWN_NEWS.get(what) if own else NEWS.get(what)
    return None if text is None else text.format(name=name)


def cannot_reach(where: str, why: str, wait: float) -> str:
    """No connection yet; where the server has said why, in its words.

    >>> cannot_reach("localhost:8000", "refused", 2.2)
    'Cannot reach localhost:8000 (refused). Retry in 2 s, Ctrl-C to stop.'
    >>> cannot_reach("localhost:8000", "This server is full. Try again later.", 2.2)
    'This server is full. Try again later. Retry in 2 s, Ctrl-C to stop.'
    """
    if why.endswith("."):
        return f"{why} Retry in {max(1, round(wait))} s, Ctrl-C to stop."
    return f"Cannot reach {where} ({why}). Retry in {max(1, round(wait))} s, Ctrl-C to stop."


def offline(seconds: float, queued: int) -> str:
    """The connection is gone for so long.

    >>> offline(12.3, 2)
    'offline 12 s, 2 queued'
    """
    return f"offline {seconds:.0f} s, {queued:,} queued"


def waiting(lines: int) -> str:
    """So many lines were typed behind one that is not answered yet.

    >>> waiting(2)
    'online, 2 waiting for an answer'
    """
    return f"online, {lines:,} waiting for an answer"


def keep_typing(seconds: float, queued: int) -> str:
    """As it is said once."""
    return f"{offline(seconds, queued)}. You can keep typing."


def typing(names: str, count: int, dots: str = "…") -> str:
    """Who is typing.

    >>> typing("bob", 1)
    'bob is typing…'
    """
    return f"{names} {'is' if count == 1 else 'are'} typing{dots}"


def online_again(missed: int, sent: int) -> str:
    """Resumed, and all that waited is stored."""
    return f"online again, {missed:,} missed, {sent:,} sent"


def unsent(count: int) -> str:
    """What `/quit` adds."""
    if not count:
        return "Nothing unsent."
    return (
        "1 message unsent; it goes out next time."
        if count == 1
        else f"{count:,} messages unsent; they go out next time."
    )


def paste(lines: int) -> str:
    """More than one line was pasted."""
    return f"Paste {lines:,} lines? [y]es [f]ile [n]o "


# -- files ------------------------------------------------------------------------------------------------------------

NOTHING_UNDER_WAY = "Nothing is on its way."
NAME_ONE = "Several are on their way: /cancel {files}"
UNDER_WAY = "{name} is on its way already."
TAKE_STRANGER = "You have never written to {by}. Fetch {name} ({size})? [y/N] "
TAKE_LARGE = "{name} is {size}. Fetch it? [y/N] "
ASK_AGAIN = "Answer first; then /get {file} again."
GOES_ON = "Not through yet. The same command goes on with it, and so does chat when it is next started."
NO_KEY = "File {file} is encrypted, and this device was never told how to open it."
CHANGED = "it was written to meanwhile"
SEALING = "encrypting"
WAITS = "waits for the server"
TORN = "it is not what was sent; somebody has changed it"


def not_sent_file(name: str, why: str) -> str:
    """A file could not be sent."""
    return f"{NOT_SENT}{name}: {why}."


def not_fetched(name: str, why: str) -> str:
    """A file could not be fetched."""
    return f"Not fetched: {name}: {why}."


def saved(name: str, size: str, path: str) -> str:
    """A file is here.

    >>> saved("cat.png", "2.1 MB", "/home/bob/cat (1).png")
    'cat.png 2.1 MB saved as /home/bob/cat (1).png'
    """
    return f"{name} {size} saved as {path}"


def stopped(name: str) -> str:
    """`/cancel`."""
    return f"{name}: stopped."


def go_on_next_time(names: list[str]) -> str:
    """What `/quit` adds where files are on their way.

    >>> go_on_next_time(["a.png", "b.iso"])
    'a.png, b.iso: not through yet; they go on next time.'
    """
    return f"{', '.join(names)}: not through yet; {'it goes' if len(names) == 1 else 'they go'} on next time."


def exported(count: int, room: str, path: str) -> str:
    """What `/export` has written."""
    return f"{count:,} {'line' if count == 1 else 'lines'} of {clean(room)} in {clean(path)}."
