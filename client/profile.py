"""A profile: one person on one server, in one folder that nobody else may read, used by one process at a time.

The rule: the folder is 0700 and locked before anything in it is opened; the lock dies with the process.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from client.crypto import vault
from client.crypto.vault import Vault

KEY: Final = "key"


class InUse(Exception):
    """Another process has this profile."""


class Locked(Exception):
    """The profile is protected by a passphrase, which is missing or wrong."""


def home() -> Path:
    """Where profiles are kept."""
    if "CHAT_HOME" in os.environ:
        return Path(os.environ["CHAT_HOME"])
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "chat"


class Profile:
    """A profile's folder, held by this process."""

    def __init__(self, name: str, root: Path | None = None) -> None:
        """Take the profile of this name.

        @raise InUse: another process has it.
        """
        if not name or name.startswith(".") or "/" in name:
            raise ValueError(f"no name for a profile: {name!r}")
        self.name = name
        self.path = (root or home()) / name
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)
        self._fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise InUse(name) from None

    @property
    def database(self) -> Path:
        """The one file with everything in it."""
        return self.path / "chat.db"

    def key(self) -> bytes:
        """The key file's key, made when there is none."""
        path = self.path / KEY
        if not path.exists():
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(vault.new_key())
                file.flush()
                os.fsync(file.fileno())
        path.chmod(0o600)
        return path.read_bytes()

    def forget_key(self) -> None:
        """A passphrase protects the profile now."""
        (self.path / KEY).unlink(missing_ok=True)

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._fd)


def unlock(profile: Profile, wrap: dict[str, object] | None, passphrase: str | None) -> tuple[Vault, dict[str, object]]:
    """The vault of a profile and how its key is wrapped; a new profile gets a new key.

    @raise Locked: a passphrase is needed, or this one is wrong.
    """
    if wrap is None:
        made = Vault(vault.new_key())
        return made, made.wrapped_by_passphrase(passphrase) if passphrase else made.wrapped_by_key(profile.key())
    secret: bytes | str | None = profile.key() if wrap["how"] == "file" else passphrase
    if secret is None:
        raise Locked
    try:
        return vault.unwrap(wrap, secret), wrap
    except vault.Unreadable:
        raise Locked from None
