"""What the up key and the Tab key bring, for prompt_toolkit.

The rule: nothing is decided here: the lines typed are in the store, and what can be completed is completion.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import History

from client import completion
from client.store import Store

if TYPE_CHECKING:
    from client.chat import Chat


class Typed(History):
    """The lines typed before. They are kept by Chat, sealed."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def load_history_strings(self) -> Iterable[str]:
        return self._store.typed()

    def store_string(self, string: str) -> None:
        """Chat keeps it."""


class Tab(Completer):
    """What could come next, for whoever talks."""

    def __init__(self, chat: Callable[[], Chat]) -> None:
        self._chat = chat

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        chat = self._chat()
        if chat.talk.question is not None or not chat.talk.inside:
            return
        for offer in completion.offers(document.text_before_cursor, chat.view, chat.commands):
            yield Completion(offer.text, -offer.length, offer.shown, display_meta=offer.note)
