"""chatctl in this process: what it prints and how it ends."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from chatd.ctl import main

QUICK = "[accounts]\nbcrypt_cost = 4\n"


class Ran(NamedTuple):
    """One run: its exit status, and what it printed to each."""

    status: int
    out: str
    err: str

    @property
    def fields(self) -> dict[str, Any]:
        """What it printed with --json."""
        found: dict[str, Any] = json.loads(self.out)
        return found


class Operator:
    """Somebody who looks after the server of the folder `data`."""

    def __init__(self, data: Path, settings: str = QUICK) -> None:
        self.data = data
        self._config = data.with_name(f"{data.name}.toml")
        self._config.parent.mkdir(parents=True, exist_ok=True)
        self._config.write_text(settings)

    def __call__(self, *words: str, typed: str = "") -> Ran:
        """Run `chatctl WORDS`, with this on its stdin."""
        out, err = io.StringIO(), io.StringIO()
        stdin, sys.stdin = sys.stdin, io.StringIO(typed)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    status = main.main(["--data", str(self.data), "--config", str(self._config), *words])
                except SystemExit as ended:
                    status = int(ended.code or 0)
        finally:
            sys.stdin = stdin
        return Ran(status, out.getvalue().rstrip("\n"), err.getvalue().rstrip("\n"))
