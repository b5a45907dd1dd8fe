"""Every sentence a person reads: one catalogue for plain, irc and chat.

The rule: everything here is a pure function of its arguments, and whatever came from people is cleaned. The sentences
are FEATURES.md's, letter by letter. A sentence is a template over the fields (a line break in it begins the second
line, which says who can help or what to type) or, where fields decide how it reads, a function of them.

One file is one subject; whoever shows sentences imports this package alone.
"""

from chatd.texts.account import BANNER, asks, away_summary, groups, now_in, people
from chatd.texts.events import EVENTS, PERSONAL, event
from chatd.texts.files import FINDINGS, about, finding, offered, sent
from chatd.texts.helping import TOPICS, TYPED, WHO, WIDTH, help_for, help_page, menu
from chatd.texts.log import AUDIT, audit
from chatd.texts.prompts import DOOR, DOOR_AGAIN, PROMPTS, prompt
from chatd.texts.refusals import REFUSALS, refusal
from chatd.texts.replies import REPLIES, past, reply
from chatd.texts.rooms import DOORS
from chatd.texts.words import BLANK, CLOSED, SEALED, Fields, Sentence, clean, clock, size, stamp

__all__ = [
    "AUDIT",
    "BANNER",
    "BLANK",
    "CLOSED",
    "DOOR",
    "DOORS",
    "DOOR_AGAIN",
    "EVENTS",
    "FINDINGS",
    "PERSONAL",
    "PROMPTS",
    "REFUSALS",
    "REPLIES",
    "SEALED",
    "TOPICS",
    "TYPED",
    "WHO",
    "WIDTH",
    "Fields",
    "Sentence",
    "about",
    "asks",
    "audit",
    "away_summary",
    "clean",
    "clock",
    "event",
    "finding",
    "groups",
    "help_for",
    "help_page",
    "menu",
    "now_in",
    "offered",
    "past",
    "people",
    "prompt",
    "refusal",
    "reply",
    "sent",
    "size",
    "stamp",
]
