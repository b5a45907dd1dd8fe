"""Sealed files (E2E.md §7): libsodium's crypto_secretstream_xchacha20poly1305, in chunks of 64 KiB.

The rule: what is opened is exactly what was sealed, whole and in its place, or an error. The associated data of each
chunk names room, message and file, so no file can be given out as another; the last chunk, and no other, is tagged
FINAL, so a file cannot end early; not a byte may follow it.

    sealed = header (24 bytes) ‖ chunk ‖ … ‖ chunk        chunk = 64 KiB, or what is left, + 17 bytes

The server sees the length of this. So zeros are put behind the file up to the next Padmé length (Nikitin et al.,
"Reducing Metadata Leakage from Encrypted Files", PETS 2019): it tells log log of the length, and costs at most 12 %.
The true length travels in the sealed message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import BinaryIO, Final

from nacl import bindings as sodium
from nacl.exceptions import CryptoError

CHUNK: Final = 64 * 1024
TAG_BYTES: Final = sodium.crypto_secretstream_xchacha20poly1305_ABYTES
HEADER_BYTES: Final = sodium.crypto_secretstream_xchacha20poly1305_HEADERBYTES
KEY_BYTES: Final = sodium.crypto_secretstream_xchacha20poly1305_KEYBYTES
_MESSAGE: Final = sodium.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
_FINAL: Final = sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL
_ZEROS: Final = bytes(CHUNK)


class Torn(Exception):
    """What is to be opened is not what was sealed, or not all of it."""


class Changed(Exception):
    """The file became shorter or longer while it was sealed."""


def new_key() -> bytes:
    """A fresh key: one for each file that is sealed, also where it is the same file again."""
    return sodium.crypto_secretstream_xchacha20poly1305_keygen()


def place(room: bytes, mid: bytes, file: bytes) -> bytes:
    """The associated data of each chunk: in which room, message and file it stands. Each part with its length."""
    parts = (room, mid, file)
    return b"chatd/file/1\x00" + b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def padded(size: int) -> int:
    """The Padmé length of so many bytes.

    >>> padded(0), padded(1), padded(1_000), padded(2_100_000), padded(1 << 30)
    (0, 1, 1024, 2162688, 1073741824)
    """
    if size < 2:
        return size
    exponent = size.bit_length() - 1
    mask = (1 << exponent - exponent.bit_length()) - 1
    return size + mask & ~mask


def sealed_size(size: int) -> int:
    """How long a file of so many bytes is, sealed."""
    length = padded(size)
    return HEADER_BYTES + length + TAG_BYTES * max(1, -(-length // CHUNK))


def seal(
    source: BinaryIO, size: int, spool: BinaryIO, key: bytes, where: bytes, step: Callable[[int], object] = id
) -> str:
    """Read `size` bytes from `source`, write them sealed to `spool`; the SHA-256 of what was written, in hex.

    `where` is from `place`. `step` is told after each chunk how many bytes have been written; what it raises ends it.

    @raise Changed: there were more bytes, or fewer.
    """
    state = sodium.crypto_secretstream_xchacha20poly1305_state()
    written = sodium.crypto_secretstream_xchacha20poly1305_init_push(state, key)
    digest = hashlib.sha256(written)
    spool.write(written)
    done, taken, length = len(written), 0, padded(size)
    while True:
        wanted = min(CHUNK, length - taken)
        real = min(wanted, max(0, size - taken))
        data = _read(source, real)
        if len(data) < real:
            raise Changed(f"{taken + len(data):,} bytes of {size:,}")
        data += _ZEROS[: wanted - real]
        taken += wanted
        tag = _FINAL if taken == length else _MESSAGE
        written = sodium.crypto_secretstream_xchacha20poly1305_push(state, data, where, tag)
        digest.update(written)
        spool.write(written)
        done += len(written)
        step(done)
        if tag == _FINAL:
            break
    if source.read(1):
        raise Changed(f"more than {size:,} bytes")
    return digest.hexdigest()


class Opener:
    """Opens what was sealed as it comes, in pieces of any length, and gives the `size` bytes that it holds to `write`.

    What has been written is worthless, and to be thrown away, until `end` has returned.
    """

    def __init__(self, size: int, write: Callable[[bytes], object], key: bytes, where: bytes) -> None:
        """`where` is from `place`.

        @raise Torn: this is no key.
        """
        if len(key) != KEY_BYTES:
            raise Torn("no key")
        self._write = write
        self._key = key
        self._where = where
        self._size = size
        self._length = padded(size)
        self._state = sodium.crypto_secretstream_xchacha20poly1305_state()
        self._taken = self._done = 0
        self._wanted = HEADER_BYTES
        """Bytes of the next part; 0: the last one has come."""
        self._part = bytearray()

    def take(self, data: bytes | memoryview) -> None:
        """The next piece.

        @raise Torn: changed, exchanged, moved, longer than it may be, or sealed with another key.
        """
        rest = memoryview(data)
        while rest:
            if not self._wanted:
                raise Torn("something follows its end")
            part = rest[: self._wanted - len(self._part)]
            rest = rest[len(part) :]
            if self._part or len(part) < self._wanted:
                self._part += part
                if len(self._part) < self._wanted:
                    return
                whole = bytes(self._part)
                self._part.clear()
            else:
                whole = bytes(part)
            if self._done:
                self._chunk(whole)
            else:
                sodium.crypto_secretstream_xchacha20poly1305_init_pull(self._state, whole, self._key)
            self._done += len(whole)
            if self._wanted:
                self._wanted = min(CHUNK, self._length - self._taken) + TAG_BYTES

    def _chunk(self, chunk: bytes) -> None:
        try:
            data, tag = sodium.crypto_secretstream_xchacha20poly1305_pull(self._state, chunk, self._where)
        except (CryptoError, RuntimeError):
            raise Torn(f"changed after {self._done:,} bytes") from None
        kept = min(len(data), max(0, self._size - self._taken))
        if any(data[kept:]):
            raise Torn("something stands behind its end")
        self._write(data if kept == len(data) else data[:kept])
        self._taken += len(data)
        if (tag == _FINAL) != (self._taken == self._length) or tag not in (_FINAL, _MESSAGE):
            raise Torn("it ends elsewhere than it should")
        if tag == _FINAL:
            self._wanted = 0

    def end(self) -> None:
        """No more comes.

        @raise Torn: it is cut short.
        """
        if self._wanted:
            raise Torn(f"it ends after {self._done + len(self._part):,} bytes")


def _read(source: BinaryIO, count: int) -> bytes:
    """So many bytes, or fewer only at the end."""
    data = source.read(count)
    while len(data) < count:
        more = source.read(count - len(data))
        if not more:
            break
        data += more
    return data
