"""Questions to a person, for what is missing in a line."""

from __future__ import annotations

from typing import Final

from chatd.texts.words import Fields, Sentence, listed, safe

DOOR: Final = 'Press "l" to log in, "r" to register, "c" to close the connection: '
DOOR_AGAIN: Final = "Please press l, r or c."


def prompt(name: str, fields: Fields) -> str:
    """The question for a missing argument: `{verb}.{argument}`, else by the argument alone."""
    sentence = PROMPTS.get(name) or PROMPTS.get(name.rpartition(".")[2])
    if sentence is None:
        return f"{name.rpartition('.')[2].capitalize()}: "
    held = safe(fields)
    return sentence.format_map(held) if isinstance(sentence, str) else sentence(held)


def _password_prompt(fields: Fields) -> str:
    policy = fields["policy"]
    wants = [f"{policy['length']}+ characters"]
    wants += ["a capital"] if policy["capital"] else []
    wants += ["a number"] if policy["number"] else []
    return f"Password ({listed(wants)}): "


PROMPTS: Final[dict[str, Sentence]] = {
    "door": DOOR,
    "register.name": "Username: ",
    "register.password": _password_prompt,
    "login.name": "Username: ",
    "login.code": "Code: ",
    "register.code": "Invitation: ",
    "password.old": "Old password: ",
    "password.new": lambda fields: f"New {_password_prompt(fields).lower()}",
    "delete-account.password": "Password, to delete {name} for ever: ",
    "rename.name": "New name: ",
    "dm.user": "To whom? ",
    "msg.user": "To whom? ",
    "create.people": "Whom to add? (-1 ends) ",
    "transfer.confirmed": "Make {name} owner of {room} and step down? [y/N] ",
    "password": "Password: ",
    "again": "Again: ",
    "room": "Group: ",
    "user": "Whom? ",
    "who": "Whom? ",
    "text": "Text: ",
    "words": "Words: ",
    "path": "Path: ",
}
