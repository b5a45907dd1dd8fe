"""The IRC dialect. One file is one subject: its verbs and their answers; importing this package fills the tables."""

from chatd.wire.irc import groups, past, people, presence, registration, server, talk
from chatd.wire.irc.dialect import Irc, is_irc

__all__ = ["Irc", "groups", "is_irc", "past", "people", "presence", "registration", "server", "talk"]
