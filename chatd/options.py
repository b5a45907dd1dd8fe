"""The command line of `twistd chatd`, and what operations see of the configuration that it names.

The rule: whatever is wrong with either is said before anything starts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, Final

from twisted.python import usage

from chatd import __version__
from chatd.command import Settings
from chatd.config import Config, ConfigError, load
from chatd.listen import is_clear_text_off_loopback, read
from chatd.model import Bounds, Door
from chatd.passwords import Policy
from chatd.tls import BadCertificate, Certificate

EXAMPLES: Final = """
chatd: a chat daemon for people who live in a terminal.

  twistd -n chatd                  serve on 127.0.0.1:8000, keep everything in
                                   ./chatd-data; Ctrl-C ends it
  twistd -n chatd -c FILE          with a configuration; etc/chatd.toml has all
                                   options and what they mean
  twistd -n chatd -c FILE --check  say what is wrong with it, and stop
  telnet 127.0.0.1 8000            talk

Several instances may share one --data folder on one machine: they are one
server. `twistd -n chatd-cluster` starts them, with HAProxy in front.

SIGTERM drains: what was accepted is worked off, clients are told, exit status
0. SIGHUP reads the configuration again. CHATD_DATA, CHATD_LISTEN and so on in
the environment override the file; the command line overrides both.
"""


class Options(usage.Options):
    """The command line. Everything else is in chatd.toml; the environment overrides the file, the command line both."""

    synopsis = "[--data DIR] [--listen WHERE]... [--config FILE]"
    optParameters: ClassVar = [
        ["config", "c", None, "Configuration file (TOML)."],
        ["data", "d", None, "Folder of the database and of all else that is kept.  [default: chatd-data]"],
        ["durability", None, None, "full: an ok survives a power cut. normal: it survives a crash.  [default: full]"],
        ["node", None, None, "Number of this instance; 0 takes the lowest free one.  [default: 0]"],
    ]
    optFlags: ClassVar = [
        ["check", None, "Check the configuration and stop."],
        ["insecure-plaintext", None, "Listen in clear text on addresses other than loopback."],
        ["log-json", None, "Write the log as JSON lines."],
        ["quiet", "q", "Write the log to its file only, not to the console too."],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["listen"] = []
        self.logs = self.console = False

    def opt_listen(self, endpoint: str) -> None:
        """Where to listen: an endpoint; may be given again.  [default: tcp:8000:interface=127.0.0.1]"""
        self["listen"].append(endpoint)

    opt_l = opt_listen

    def getUsage(self, width: int | None = None) -> str:
        """The options, and how they are used."""
        return f"{super().getUsage(width)}{EXAMPLES}"

    def postOptions(self) -> None:
        """Read the configuration, so that a mistake stops twistd before anything starts."""
        try:
            self.loaded = self.read()
        except ConfigError as error:
            raise SystemExit(str(error)) from None
        if self["check"]:
            _check_certificates(self.loaded)
            print(
                f"The configuration is right. Data in {self.loaded.data}, listening on {', '.join(self.loaded.listen)}."
            )
            raise SystemExit(0)
        places = [*self.loaded.listen, *filter(None, [self.loaded.metrics.listen])]
        clear = [endpoint for endpoint in places if is_clear_text_off_loopback(endpoint)]
        if clear and not self.loaded.insecure_plaintext:
            raise SystemExit(
                f"{clear[0]} would serve in clear text beyond this machine."
                " Use ssl:, or allow it with --insecure-plaintext."
            )
        _prepare_folder(self.loaded.data)
        parent: Any = self.parent
        if parent is not None:
            if parent.get("pidfile") == "twistd.pid":
                parent["pidfile"] = None
            own_log = parent.get("logfile") or parent.get("logger") or parent.get("syslog")
            self.logs = not own_log
            self.console = bool(parent.get("nodaemon")) and not self["quiet"]

    def read(self) -> Config:
        """The configuration as it stands now: file, environment, command line."""
        given: dict[str, object] = {
            "data": self["data"],
            "listen": tuple(self["listen"]) or None,
            "durability": self["durability"],
            "node": self["node"],
            "insecure_plaintext": bool(self["insecure-plaintext"]) or None,
            "log.json": bool(self["log-json"]) or None,
        }
        return load(self["config"], os.environ, {name: value for name, value in given.items() if value is not None})


def _check_certificates(config: Config) -> None:
    """Whether the certificates that are named can be used; the server's own is made when it starts."""
    for description in config.listen:
        files = read(description).files
        if files is not None and files.key is not None and files.certificate is not None:
            try:
                Certificate(files.key, files.certificate, files.chain)
            except BadCertificate as error:
                raise SystemExit(f"{description}: {error}") from None


def _prepare_folder(data: Path) -> None:
    """Make the data folder, for this user only."""
    try:
        for folder in (data, data / "run", data / "log"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SystemExit(f"Cannot make the data folder {data}: {error.strerror}.") from None


def settings_of(config: Config) -> Settings:
    """What operations see of the configuration."""
    return Settings(
        limits=config.limits,
        policy=Policy(
            length=config.passwords.length,
            capital=config.passwords.capital,
            number=config.passwords.number,
            common=config.passwords.common,
        ),
        bcrypt_cost=config.accounts.bcrypt_cost,
        registration=config.accounts.registration,
        autocreate=config.groups.autocreate,
        default_door=Door.OPEN if config.irc.guests else Door(config.groups.default_door),
        operators=frozenset(config.server.operators),
        server=config.server.name,
        software=f"chatd-{__version__}",
        motd=_motd(config.server.motd),
        banner=config.server.banner,
        guests=config.irc.guests,
        door_password=config.irc.password,
        oper=(config.irc.oper_name, config.irc.oper_password),
        sts=(config.irc.sts_port, config.irc.sts_days * 86_400),
        reach=config.server.reach,
        keep=Bounds(int(config.retention.days * 86_400) or None, config.retention.messages or None),
    )


def _motd(path: Path | None) -> tuple[str, ...]:
    """The message of the day; none where its file cannot be read."""
    try:
        return () if path is None else tuple(path.read_text("utf-8", "replace").splitlines())
    except OSError as error:
        print(f"The message of the day is not shown: {path}: {error.strerror}", flush=True)
        return ()
