"""`chat` in a terminal: keys and screen, by prompt_toolkit under Twisted's asyncio reactor.

The rule: the line being typed belongs to the person. What arrives is printed above it, into the terminal's own
scrollback; only the tail (lines whose marks still change), the line itself and the status line are drawn again.
Nothing is decided here: a line typed goes to `Typist.typed`, and what is shown comes from there.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from argparse import Namespace
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from prompt_toolkit import PromptSession
from prompt_toolkit.application import in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.renderer import print_formatted_text
from prompt_toolkit.styles import DynamicStyle, Style

from client import formatting, sentences
from client.chat import Chat
from client.face import Face
from client.files import ability
from client.files.ability import Look, Way
from client.formatting import Fragments
from client.lines import KEEP, TALL, Line
from client.recall import Tab, Typed
from client.reflow import rows_more, wraps_anew
from client.status import status
from client.store import Store
from client.themes import THEMES
from client.timers import Timers

if TYPE_CHECKING:
    from client.link import Link

GATHER: Final = 0.02
"""Seconds in which what arrives is gathered into one drawing."""
AGAIN: Final = 0.2
"""Seconds until it is looked whether the screen is ours again."""
QUEUED_SHOWN: Final = 5
WIDE: Final = 60
"""Columns of a picture."""
_COMMAND: Final = re.compile(r"/(?!/)|@#@")
"""What no event will show: it is echoed."""
FIRST_DRAWN: Final = 0.03
"""Seconds until the network is thought of: the prompt stands by then."""


def run(options: Namespace, store: Store, host: str, port: int) -> int:
    """Run until the person quits; the exit code."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    network: list[Any] = []

    def make_link(chat: Chat) -> Link:
        """Twisted comes in when the prompt stands already: it shares the loop."""
        from twisted.internet import asyncioreactor

        asyncioreactor.install(loop)
        from twisted.internet import reactor

        from client.link import Link
        from client.reach import way

        running: Any = reactor
        running.startRunning(installSignalHandlers=False)
        network.append(running)
        return Link(running, way(running, options, store, host, port, lambda: chat), chat)

    face = Terminal(options, store, loop)
    chat = Chat(store, face, Timers(loop), make_link, f"{host}:{port}")
    loop.call_soon(face.begin, chat)
    loop.run_forever()
    for running in network:
        running.fireSystemEvent("shutdown")
    return 0


class Terminal(Face):
    """The screen and the keys of one chat."""

    keep = KEEP
    watches = True

    def __init__(self, options: Namespace, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        self.store = store
        self.loop = loop
        self.chat: Chat
        self.ascii_only = bool(options.ascii)
        self._tells_typing = options.typing is not False
        self._colour = "NO_COLOR" not in os.environ
        self._theme = options.theme or store.get("theme") or "dark"
        self._style = Style.from_dict(THEMES.get(self._theme, THEMES["dark"]))
        self._out: list[Line] = []
        self._printing = False
        self._pasted: str | None = None
        self._way: Way | None = None
        self._over = False
        self.session: PromptSession[str] = PromptSession(
            message=self._message,
            completer=Tab(lambda: self.chat),
            complete_while_typing=False,
            history=Typed(store),
            bottom_toolbar=self._status,
            key_bindings=self._keys(),
            style=DynamicStyle(lambda: self._style),
            include_default_pygments_style=False,
            color_depth=None if self._colour and self._theme != "none" else ColorDepth.DEPTH_1_BIT,
            is_password=Condition(lambda: self.chat.talk.secret),
            enable_open_in_editor=True,
            enable_suspend=True,
            reserve_space_for_menu=6,
            erase_when_done=True,
        )
        self.session.default_buffer.accept_handler = self._accept
        self._redrawn = self.session.app._on_resize
        setattr(self.session.app, "_on_resize", self._resized)  # noqa: B010 - a method, to mypy
        self.session.default_buffer.on_text_changed += lambda buffer: self.chat.typist.typing(buffer.text)

    def begin(self, chat: Chat) -> None:
        """Serve this chat."""
        self.chat = chat
        chat.typist.tells = self._tells_typing
        for number in (signal.SIGTERM, signal.SIGHUP):
            self.loop.add_signal_handler(number, chat.stop)
        chat.start()
        self._write()  # what is held stands there before anything is drawn
        self._running = self.loop.create_task(self._run())
        self.loop.call_later(FIRST_DRAWN, chat.connect)
        self._tick()

    async def _run(self) -> None:
        try:
            with suppress(EOFError, OSError):  # the terminal is gone
                await self.session.app.run_async(handle_sigint=False)
        finally:
            self._over = True
            self.chat.stop()
            with suppress(OSError):
                self._write()
            self.loop.call_later(0.05, self.loop.stop)

    def _tick(self) -> None:
        """The seconds of `offline 12 s` go on."""
        if not self._over:
            if self.chat.down_since is not None:
                self.session.app.invalidate()
            self.loop.call_later(1.0, self._tick)

    # -- keys ---------------------------------------------------------------------------------------------------------

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        pasted = Condition(lambda: self._pasted is not None)
        add = keys.add

        @add("c-c", filter=~pasted)
        def interrupt(event: KeyPressEvent) -> None:
            if event.current_buffer.text:
                event.current_buffer.reset()
            else:
                self.chat.typist.typed("/quit" if self.chat.talk.question is None else "")

        @add("c-d", filter=Condition(lambda: not self.session.default_buffer.text))
        def end(event: KeyPressEvent) -> None:
            self.chat.typist.typed("/quit")

        for number in range(1, 10):

            @add("escape", str(number))
            def nth(event: KeyPressEvent, number: int = number) -> None:
                places = self.chat.view.ordered()
                if number <= len(places):
                    self.chat.go(places[number - 1])

        @add("escape", "a")
        def unread(event: KeyPressEvent) -> None:
            self.chat.switch()

        @add(Keys.BracketedPaste, filter=~pasted)
        def paste(event: KeyPressEvent) -> None:
            self._paste(event.data)

        @add("pageup", filter=~pasted)
        def past(event: KeyPressEvent) -> None:
            event.app.create_background_task(self._page())

        @add(Keys.Any, filter=pasted)
        @add("enter", filter=pasted)
        @add("escape", filter=pasted)
        @add("c-c", filter=pasted)
        def decide(event: KeyPressEvent) -> None:
            held, self._pasted = self._pasted, None
            choice = event.data.lower()
            if choice == "y" and held is not None:
                before = event.current_buffer.text
                event.current_buffer.reset()
                self._say(before + held)
            elif choice == "f" and held is not None:
                self.chat.typist.say_as_file(held)
            self.refresh()

        return keys

    def _paste(self, data: str) -> None:
        """Several lines at once are asked about: they may have been meant for something else."""
        data = data.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
        if "\n" in data and not self.chat.talk.secret:
            self._pasted = data
            self.refresh()
        else:
            self.session.default_buffer.insert_text(data)

    async def _page(self) -> None:
        """The past of the current room, on a screen of its own; what arrives meanwhile is printed afterwards."""
        place = self.chat.view.place
        if place is None or not self.chat.talk.inside:
            return
        from client.pager import Pager  # seldom needed, and it brings much

        app = self.session.app
        look = {"style": self._style, "color_depth": app.color_depth, "input": app.input, "output": app.output}
        pager = Pager(self.chat, place, self._letters, **look)
        async with in_terminal():
            await pager.run()
        self._paste(pager.typed)
        self._print_soon()

    def _accept(self, buffer: Buffer) -> bool:
        """Enter. What answers a question is not remembered for the up key."""
        text = buffer.text
        if self.chat.talk.question is not None or not self.chat.talk.inside:
            buffer.text = ""
        self.chat.typist.typed(text)
        return False

    def taken(self, line: str) -> None:
        """What no event will show is echoed."""
        talk = self.chat.talk
        if talk.secret:
            self.chat.echo(talk.prompt)
        elif talk.question is not None or not talk.inside or _COMMAND.match(line):
            self.chat.echo(f"{talk.prompt}{line}")

    def _edit(self) -> None:
        """A text is written in $EDITOR, and sent when that ends; an empty one is not."""
        buffer = self.session.default_buffer

        def edited(_: object) -> None:
            text = buffer.text.rstrip("\n")
            buffer.reset()
            if text.strip():
                self._say(text)

        buffer.reset()
        buffer.open_in_editor().add_done_callback(edited)

    def _say(self, text: str) -> None:
        """A whole text, which the up key brings again; where it cannot go out it stands in the line at once."""
        buffer = self.session.default_buffer
        if self.chat.talk.question is None and self.chat.talk.inside:
            buffer.history.append_string(text)
            buffer.reset()
        if not self.chat.typist.say(text):
            buffer.document = Document(text)

    # -- the screen ---------------------------------------------------------------------------------------------------

    def show(self, lines: list[Line]) -> None:
        self._out += lines
        self._print_soon()

    def refresh(self) -> None:
        if self.session.app.is_running:
            self.session.app.invalidate()

    def _resized(self) -> None:
        """The window has another size: erase what was drawn where it is now, and draw again."""
        renderer, output = self.session.app.renderer, self.session.app.output
        screen, columns = renderer._last_screen, output.get_size().columns
        before = renderer._last_size
        if screen is not None and before is not None and columns < before.columns and wraps_anew(os.environ):
            output.cursor_up(rows_more(screen, renderer._cursor_pos, columns))
        self._redrawn()

    def _print_soon(self, seconds: float = GATHER) -> None:
        if not self._printing and not self._over:
            self._printing = True
            self.loop.call_later(seconds, lambda: self.loop.create_task(self._print()))

    async def _print(self) -> None:
        """Put what has gathered above the prompt.

        As run_in_terminal does it, but the terminal stays as it is for keys: nothing typed or pasted meanwhile is
        echoed, or taken for something else.
        """
        app = self.session.app
        renderer = app.renderer
        if app.is_running:
            await renderer.wait_for_cpr_responses()  # else the answer would be about another row
        self._printing = False
        if self._over:
            return
        if not app.is_running or app._running_in_terminal:  # not yet; or the pager or $EDITOR has the screen
            self._print_soon(AGAIN)
            return
        brackets, renderer._bracketed_paste_enabled = renderer._bracketed_paste_enabled, False
        renderer.erase()
        self._write()
        renderer.reset()
        renderer._bracketed_paste_enabled = brackets
        app._request_absolute_cursor_position()
        app._redraw()

    def _write(self) -> None:
        """Print what has gathered. The terminal wraps and scrolls by itself."""
        lines, self._out = self._out, []
        fragments: Fragments = []
        for line in lines:
            for row in line.shown():
                fragments += row
                fragments.append(("", "\n"))
        if fragments:
            depth = self.session.app.color_depth
            text = FormattedText(self._letters(fragments))
            print_formatted_text(self.session.app.output, text, self._style, color_depth=depth)

    def _letters(self, fragments: Fragments) -> Fragments:
        if not self.ascii_only:
            return fragments
        return [(style, formatting.to_ascii(text)) for style, text in fragments]

    def _message(self) -> FormattedText:
        """What is drawn with the line being typed: the tail above it, and the prompt."""
        columns = self.session.app.output.get_size().columns
        tail = self.chat.transcript.tail
        fragments: Fragments = []
        queued = tail.queued[-QUEUED_SHOWN:]
        for line in tail.lines:
            fragments += self._drawn(line, columns)
        if len(tail.queued) > len(queued):
            fragments.append(("class:offline", f"({len(tail.queued) - len(queued):,} more)\n"))
        for line in queued:
            fragments += self._drawn(line, columns)
        fragments += [("class:progress", f"{row}\n") for row in self.chat.progress(columns)]
        prompt = sentences.paste(self._pasted.count("\n") + 1) if self._pasted is not None else self.chat.talk.prompt
        return FormattedText(self._letters([*fragments, ("class:prompt", prompt)]))

    def _drawn(self, line: Line, columns: int) -> Fragments:
        """A line of the tail; a tall one only as far as there is room."""
        found: Fragments = []
        used = 0
        for row in line.shown():
            used += formatting.rows(formatting.plain(row), columns)
            if used > TALL:
                mark = f"  {line.mark.value}" if line.mark is not None else ""
                text = formatting.cut(formatting.plain(row), columns - len(mark) - 1, "..." if self.ascii_only else "…")
                return [*found, ("", f"{text}{mark}\n")]
            found += [*row, ("", "\n")]
        return found

    def _status(self) -> FormattedText:
        """The line below: the connection, and what is unread where."""
        chat = self.chat
        columns = self.session.app.output.get_size().columns
        connection, now = chat.connection(), chat.clock()
        text = connection
        if chat.talk.inside:
            text = status(connection, chat.view, chat.around, now, columns - 2, ascii_only=self.ascii_only)
        if self._theme == "classic" and self._colour:
            text = f"- - - {text} " + "- " * columns
        return FormattedText(self._letters([("", formatting.cut(f" {text}", columns - 1, ""))]))

    def look(self) -> Look:
        """Asked of the terminal itself where the environment does not say, the first time."""
        size = self.session.app.output.get_size()
        if self._way is None and self.session.app._running_in_terminal:
            return Look(Way.WORDS, 0, 0)  # $EDITOR has the screen, and would get the answer
        if self._way is None:
            self._way = Way.WORDS if self.ascii_only else ability.by_environment(os.environ) or self._asked()
        return Look(self._way, min(size.columns - 2, WIDE), max(2, size.rows // 2), ability.true_colour(os.environ))

    def _asked(self) -> Way:
        """What the terminal answers. What was typed meanwhile is typed."""
        app = self.session.app
        app.output.flush()
        way, typed = ability.ask(app.input.fileno(), sys.stdout.fileno())
        if typed:
            Vt100Parser(app.key_processor.feed).feed(typed.decode(errors="replace"))
            app.key_processor.process_keys()
        return way

    # -- the rest -----------------------------------------------------------------------------------------------------

    def ring(self, title: str, text: str) -> None:
        """The bell, and a notification where the terminal knows OSC 9."""
        output = self.session.app.output
        safe = formatting.cut(formatting.clean(f"{title} {text}").replace("\n", " "), 200)
        output.write_raw(f"\x1b]9;{safe}\x1b\\")
        output.bell()
        output.flush()

    def local(self, do: str, fields: Mapping[str, Any]) -> None:
        if do == "edit":
            self.loop.call_soon(self._edit)  # once the line with the command is gone
        elif do == "theme":
            name = fields.get("name")
            if name in THEMES:
                self._theme = name
                self._style = Style.from_dict(THEMES[name])
                self.store.put(theme=name)
            else:
                self.chat.notice(f"/theme {'|'.join(THEMES)}")

    def bye(self) -> None:
        if self.session.app.is_running:
            self.session.app.exit(result="")
