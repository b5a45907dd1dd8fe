"""Page-Up: a room's past on a screen of its own, above which nothing is lost: the terminal's scrollback stays as it is.

The rule: what is looked at comes from past.py, a page at a time, and stands in scroll.py; here are only keys and rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from prompt_toolkit.application import Application
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import FormattedTextControl, HSplit, Layout, Window
from prompt_toolkit.layout.dimension import Dimension

from client import formatting, sentences
from client.formatting import Fragments
from client.past import Events
from client.scroll import Scroll
from client.view import Place

if TYPE_CHECKING:
    from client.chat import Chat

PAGE: Final = 100
"""Events that are had at a time."""


class Pager:
    """The past of one room. `letters` makes what is shown fit the terminal's letters."""

    def __init__(self, chat: Chat, place: Place, letters: Callable[[Fragments], Fragments], **look: Any) -> None:
        self._chat = chat
        self._place = place
        self._letters = letters
        self._scroll = Scroll()
        self._loading = self._whole = self._home = False
        self.typed = ""
        """What was typed that is no key of this screen: it belongs into the line."""
        self._app: Application[None] = Application(
            layout=Layout(
                HSplit(
                    [
                        Window(FormattedTextControl(self._rows), wrap_lines=True),
                        Window(FormattedTextControl(self._foot), height=Dimension.exact(1), style="class:day"),
                    ]
                )
            ),
            key_bindings=self._keys(),
            full_screen=True,
            **look,
        )

    async def run(self) -> None:
        """Show it, until it is left."""
        self._measure()
        self._older()
        await self._app.run_async()

    def _measure(self) -> None:
        """The window as it is now; it is filled again when it has another size."""
        output = self._app.output.get_size()
        size = (output.columns, max(1, output.rows - 1))
        if size != self._scroll.size:
            self._scroll.size = size
            self._scroll.settle()

    # -- lines --------------------------------------------------------------------------------------------------------

    def _older(self) -> None:
        """Have more above, where little is left."""
        if self._loading or self._whole or not self._scroll.near_start:
            return
        first = next((line.seq for line in self._scroll.lines if line.seq), self._chat.view.cursor + 1)
        self._loading = True

        def show(events: Events, whole: bool) -> None:
            self._loading = False
            self._whole = whole
            lines = self._scroll.lines
            first_page = not lines
            self._scroll.older(self._chat.transcript.as_lines(events, after=lines[0] if lines else None))
            if first_page:
                self._scroll.up()  # the end stands on the other screen
            if self._home:
                self._scroll.to_start()
            if not whole and not any(line.seq for line in self._scroll.lines):
                self._whole = True  # nothing of all this is ever shown
            self._app.invalidate()

        self._chat.past.page(self._place.id, first, PAGE, show)

    def _newer(self) -> None:
        """Have more below, where it was dropped."""
        if self._scroll.near_end and self._scroll.lines:
            events = self._chat.past.newer(self._place.id, self._scroll.lines[-1].seq, PAGE)
            self._scroll.newer(self._chat.transcript.as_lines(events, before=self._scroll.lines[-1]))

    def _rows(self) -> FormattedText:
        self._measure()
        found: Fragments = []
        for row in self._scroll.shown():
            found += [*row, ("", "\n")]
        return FormattedText(self._letters(found[:-1]))

    def _foot(self) -> FormattedText:
        lines = self._scroll.lines
        at = lines[max(0, min(self._scroll.bottom, len(lines)) - 1)].at if lines else 0
        day = time.strftime("%Y-%m-%d", time.localtime(at / 1000)) if at else ""
        more = sentences.LOADING if self._loading else sentences.OLDEST if self._whole and self._scroll.at_start else ""
        text = sentences.PAGER.format(room=formatting.clean(self._place.name), day=day, more=more)
        return FormattedText(self._letters([("", formatting.cut(text, self._scroll.size[0], ""))]))

    # -- keys ---------------------------------------------------------------------------------------------------------

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        add = keys.add
        scroll = self._scroll

        def back(event: KeyPressEvent) -> None:
            event.app.exit()

        for key in ("q", "escape", "enter", "c-c", "c-d"):
            add(key, eager=True)(back)

        @add("pageup")
        @add("up")
        def up(event: KeyPressEvent) -> None:
            self._home = False
            scroll.up(1 if event.key_sequence[0].key == Keys.Up else 0)
            self._older()

        @add("home")
        def start(event: KeyPressEvent) -> None:
            self._home = True
            scroll.to_start()
            self._older()

        @add("pagedown")
        @add("down")
        def down(event: KeyPressEvent) -> None:
            self._home = False
            self._newer()
            if not scroll.down(1 if event.key_sequence[0].key == Keys.Down else 0):
                event.app.exit()

        @add("end")
        def end(event: KeyPressEvent) -> None:
            event.app.exit()

        @add(Keys.Any)
        @add(Keys.BracketedPaste)
        def other(event: KeyPressEvent) -> None:
            if event.data.isprintable() or event.key_sequence[0].key == Keys.BracketedPaste:
                self.typed = event.data
                event.app.exit()

        return keys
