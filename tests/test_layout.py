"""Who may import whom (DESIGN §3): imports point one way, and files can be read in one sitting."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "model": set(),
    "limits": set(),
    "names": {"errors"},
    "filenames": set(),
    "passwords": {"errors", "names"},
    "codes": set(),
    "meter": set(),
    "clock": set(),
    "crowd": {"errors", "limits"},
    "metrics": {"meter"},
    "rules": {"errors", "model"},
    "command": {"errors", "model", "limits", "rules", "names", "passwords"},
    "texts": {"errors", "model", "command", "filenames"},
    "records": set(),
    "commands": {"errors", "model", "rules", "records", "command", "names", "passwords", "codes", "crowd", "limits"},
    "store": {"errors", "model", "meter", "store", "threads"},
    "wire": {"errors", "model", "limits", "command", "texts", "wire"},
    "routing": {"model"},
    "letterbox": {"errors", "model", "store"},
    "feed": {"errors", "meter", "model", "routing", "store", "letterbox"},
    "streams": {"sockets"},
    "watching": {"errors", "model", "limits", "routing", "feed", "store", "streams"},
    "instance": {"crowd", "errors", "command", "feed", "store", "wire", "watching"},
    "interview": {"errors", "model", "wire"},
    "slow": {"errors", "hasher", "passwords", "threads"},
    "carry": {"crowd", "errors", "model", "command", "store"},
    "turns": {"errors", "limits", "model", "command", "carry", "wire"},
    "answers": {"errors", "model", "command"},
    "identity": {"errors", "model", "command", "store", "letterbox"},
    "intake": {"crowd", "errors", "model", "wire", "interview", "turns", "answers"},
    "session": {"errors", "model", "wire", "instance", "interview", "turns", "answers", "identity", "intake"},
    "pipe": set(),
    "raw": {"errors", "model", "part", "pipe", "commands", "wire"},
    "transfers": {"errors", "model", "crowd", "limits", "blobs", "commands", "store", "raw"},
    "protocol": {
        "meter",
        "crowd",
        "errors",
        "session",
        "pipe",
        "instance",
        "command",
        "wire",
        "limits",
        "proxy",
        "reactor",
    },
    "factory": {"command", "crowd", "errors", "instance", "limits", "meter", "protocol", "session"},
    "proxy": {"limits"},
    "sockets": set(),
    "threads": set(),
    "reactor": set(),
    "hasher": set(),
    "peers": {"errors", "model", "store", "feed", "sockets", "watching"},
    "audit": {"texts", "config", "errors", "model"},
    "listen": {"limits", "proxy", "systemd"},
    "systemd": set(),
    "tls": set(),
    "config": {"limits", "errors", "listen"},
    "options": {"command", "config", "listen", "model", "passwords", "tls"},
    "child": set(),
    "haproxy": {"sockets"},
    "cluster": {"clock", "config", "listen", "tls", "audit", "child", "haproxy"},
    "retention": {"errors", "model", "rules", "store"},
    "ctl": {
        "audit",
        "blobs",
        "codes",
        "command",
        "commands",
        "config",
        "errors",
        "model",
        "names",
        "passwords",
        "retention",
        "sockets",
        "store",
        "texts",
    },
    "part": {"errors"},
    "blobs": {"errors", "part"},
}
"""Part of chatd -> the parts it may import when it runs. service is the only one that may import anything."""

CLIENT_MAY_IMPORT = {"wire", "model", "errors", "limits", "texts", "filenames"}


def imported(path: Path) -> set[str]:
    """The modules of ours that a file imports when it runs, without what stands under TYPE_CHECKING."""
    found: set[str] = set()

    def visit(nodes: list[ast.stmt]) -> None:
        for node in nodes:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                continue
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                found.add(node.module)
                found.update(f"{node.module}.{alias.name}" for alias in node.names if node.module == "chatd")
            for field in ("body", "orelse", "finalbody", "handlers"):
                visit(getattr(node, field, []))

    visit(ast.parse(path.read_text("utf-8")).body)
    return {name for name in found if name.split(".")[0] in ("chatd", "client")}


def part_of(module: str) -> str:
    """`chatd.store.log` belongs to the part `store`."""
    words = module.split(".")
    return words[1] if len(words) > 1 else ""


class LayoutTests(SynchronousTestCase):
    """The structure, as a newcomer may rely on it."""

    def test_imports_point_one_way(self) -> None:
        """No part of chatd imports what stands above it."""
        wrong = []
        for path in sorted((ROOT / "chatd").rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            part = part_of(module)
            if part in ("", "service"):
                continue
            for name in imported(path):
                other = part_of(name)
                if other not in (part, "", "__version__") and other not in MAY_IMPORT[part]:
                    wrong.append(f"{module} imports {name}")
        self.assertEqual(wrong, [])

    def test_every_part_has_its_bracket(self) -> None:
        """A new file must say what it may import: a part without a bracket fails."""
        parts = {path.stem if path.is_file() else path.name for path in (ROOT / "chatd").iterdir()}
        parts = {part for part in parts if (ROOT / "chatd" / part).is_dir() or (ROOT / "chatd" / f"{part}.py").exists()}
        self.assertEqual(parts - MAY_IMPORT.keys() - {"__init__", "__pycache__", "service", "data"}, set())

    def test_the_client_knows_the_wire_alone(self) -> None:
        """The client never imports the store, the commands or the service."""
        wrong = [
            f"{path.name} imports {name}"
            for path in (ROOT / "client").rglob("*.py")
            for name in imported(path)
            if name.startswith("chatd") and part_of(name) not in CLIENT_MAY_IMPORT | {""}
        ]
        self.assertEqual(wrong, [])

    def test_wire_and_commands_know_no_twisted(self) -> None:
        """Dialects are sans-IO and operations synchronous: neither imports Twisted."""
        for folder in ("wire", "commands"):
            for path in (ROOT / "chatd" / folder).rglob("*.py"):
                self.assertNotRegex(path.read_text("utf-8"), r"(?m)^\s*(from|import) twisted", str(path))

    def test_sql_stands_in_the_store_alone(self) -> None:
        """No statement is written outside store/."""
        statement = re.compile(r"[\"'](SELECT|INSERT INTO|UPDATE|DELETE FROM) ")
        for path in (ROOT / "chatd").rglob("*.py"):
            if "store" not in path.parts:
                self.assertIsNone(statement.search(path.read_text("utf-8")), str(path))

    def test_operations_have_no_sentences(self) -> None:
        """What a person reads is in texts/: operations hold no sentence and no dialect's name."""
        sentence = re.compile(r"^[A-Z][a-z']+( [a-z']+){2,}.*[.!?:]$")
        for path in (ROOT / "chatd" / "commands").rglob("*.py"):
            tree = ast.parse(path.read_text("utf-8"))
            docs = {
                id(node.body[0].value)
                for node in ast.walk(tree)
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
                and node.body
                and isinstance(node.body[0], ast.Expr)
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.Expr):
                    docs.add(id(node.value))
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                    self.assertIsNone(sentence.match(node.value), f"{path.name}:{node.lineno}: {node.value}")
                    self.assertNotIn(node.value, ("plain", "json", "irc"), f"{path.name}:{node.lineno}")
