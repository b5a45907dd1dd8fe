"""The little of telnet (RFC 854, 857, 1143) that a line protocol meets.

The rule: a client's commands are taken out of its bytes wherever TCP cuts them, and no option but our own ECHO and its
BINARY is agreed to. 0xFF never occurs in UTF-8, so text is never touched.

Telnet programs that speak seven bits unless told otherwise (GNU's, which is Debian's) take the byte 9C of an `Ü` for a
Ctrl-backslash and the 9A of a rocket for a Ctrl-Z, and send a command instead of it. So whoever shows that it knows
telnet, by its answer to our ECHO or by such a command, is asked for eight bits (RFC 856). In that mode CR alone ends a
line, too, and a Ctrl-C comes as a character, in the line that it should have taken back.
"""

from __future__ import annotations

from typing import Final

IAC: Final = 255
DONT: Final = 254
DO: Final = 253
WONT: Final = 252
WILL: Final = 251
SB: Final = 250
SE: Final = 240
BINARY: Final = 0
ECHO: Final = 1
TIMING_MARK: Final = 6

HIDE: Final = bytes((IAC, WILL, ECHO))
"""The server says it echoes, and does not: what is typed stays hidden."""
SHOW: Final = bytes((IAC, WONT, ECHO))
INTERRUPT: Final = b"\xff\x03"
"""What a Ctrl-C that came as a character is handed on as."""


def is_unseen(data: bytes | memoryview) -> bool:
    """Whether a terminal shows nothing of this: nothing but options."""
    return len(data) % 3 == 0 and all(byte == IAC for byte in data[::3])


class Telnet:
    """One connection's telnet state: what a command cut by TCP has brought so far, and whether it sends eight bits."""

    __slots__ = ("_asked", "_binary", "_cr", "_held", "_inside", "answers")

    def __init__(self) -> None:
        self._held = b""
        self._inside = False
        self._cr = self._binary = self._asked = False
        self.answers = b""

    def feed(self, data: bytes) -> bytes:
        """`data` without telnet commands, CR NUL as LF, and INTERRUPT for a Ctrl-C in eight bits.

        What is owed to the client is added to `answers`.
        """
        if not (self._held or self._inside) and b"\xff" not in data:
            return self._newlines(data, self._binary)
        data, self._held = self._held + data, b""
        found = b""
        text = bytearray()
        at = 0
        while (start := data.find(b"\xff", at)) >= 0:
            if not self._inside:
                text += data[at:start]
            binary = self._binary
            at = self._command(data, start, text)
            if at < 0:
                self._held = data[start:]
                return found + self._newlines(bytes(text), binary)
            if binary != self._binary:
                found += self._newlines(bytes(text), binary)
                self._cr = False
                text.clear()
        if not self._inside:
            text += data[at:]
        return found + self._newlines(bytes(text), self._binary)

    def _command(self, data: bytes, start: int, text: bytearray) -> int:
        """Where the command at `start` ends; -1 if it is not whole. A subnegotiation is all between its SB and SE."""
        if len(data) < start + 2:
            return -1
        verb = data[start + 1]
        if self._inside:
            self._inside = verb != SE
        elif verb == IAC:
            text.append(IAC)
        elif verb == SB:
            self._inside = True
        elif verb in (WILL, WONT, DO, DONT):
            if len(data) < start + 3:
                return -1
            option = data[start + 2]
            self._option(verb, option)
            return start + 3
        return start + 2

    def _option(self, verb: int, option: int) -> None:
        """Answer what a client wants or will; its refusals need no answer."""
        if verb == WILL and option == BINARY:
            self._ask_for_binary()
            self._binary = True
        elif verb == WILL:
            self.answers += bytes((IAC, DONT, option))
        elif verb == WONT and option == BINARY:
            self._binary = False
        elif verb == DO:
            if option != ECHO:
                self.answers += bytes((IAC, WONT, option))
            if option in (ECHO, TIMING_MARK):
                self._ask_for_binary()

    def _ask_for_binary(self) -> None:
        if not self._asked:
            self._asked = True
            self.answers += bytes((IAC, DO, BINARY))

    def _newlines(self, data: bytes, binary: bool) -> bytes:
        if binary:
            if data:
                rest = data[1:] if self._cr and data[0] in b"\n\x00" else data
                self._cr = rest.endswith(b"\r")
                data = rest.replace(b"\r\n", b"\n").replace(b"\r\x00", b"\n").replace(b"\r", b"\n")
                data = data.replace(b"\x03", INTERRUPT)
            return data
        if self._cr and data[:1] == b"\x00":
            data = b"\n" + data[1:]
        if data:
            self._cr = data.endswith(b"\r")
        return data.replace(b"\r\x00", b"\n") if b"\x00" in data else data
