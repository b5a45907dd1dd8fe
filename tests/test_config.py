"""The configuration: defaults, file, environment, command line; and every way to get it wrong, with its line."""

from __future__ import annotations

import re
import tomllib
from dataclasses import FrozenInstanceError, asdict
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatd.config import OPTIONS, Config, ConfigError, load
from chatd.limits import Limits
from chatd.passwords import Policy

EXAMPLE = Path(__file__).parent.parent / "etc" / "chatd.toml"


class Case(SynchronousTestCase):
    """A file to write configurations into."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def load(self, text: str) -> Config:
        self.path.write_text(text, "utf-8")
        return load(self.path)

    def problems(self, text: str) -> list[str]:
        """What is wrong with a file of this text, its path left out."""
        self.path.write_text(text, "utf-8")
        error = self.assertRaises(ConfigError, load, self.path)
        self.assertEqual(str(error), "\n".join(error.problems))
        return [each.removeprefix(f"{self.path}:") for each in error.problems]


class Example(Case):
    """etc/chatd.toml, which is the documentation."""

    def test_it_changes_nothing(self) -> None:
        """Loaded as it stands, it is the defaults."""
        self.assertEqual(load(EXAMPLE), Config())

    def test_every_option_stands_in_it_with_its_default(self) -> None:
        """With every "#" before a key taken away, it names each option once, and is still the defaults."""
        text = re.sub(r"(?m)^#(?=[a-z_]+ = )", "", EXAMPLE.read_text("utf-8"))
        self.assertEqual(self.load(text), Config())
        written = tomllib.loads(text)
        named = {
            name
            for key, value in written.items()
            for name in ([f"{key}.{each}" for each in value] if isinstance(value, dict) else [key])
        }
        self.assertEqual(named, set(OPTIONS))

    def test_every_option_has_a_comment(self) -> None:
        """Above each option, or the run of options that it heads, stands what it means."""
        for paragraph in EXAMPLE.read_text("utf-8").split("\n\n"):
            lines = [line for line in paragraph.strip().split("\n") if not line.startswith("[")]
            if any(re.match(r"#[a-z_]+ = ", line) for line in lines):
                self.assertRegex(lines[0], r"^# \S", paragraph)

    def test_the_limits_are_those_of_the_record(self) -> None:
        """Every number in `Limits` can be set."""
        self.assertEqual(
            {name.removeprefix("limits.") for name in OPTIONS if name.startswith("limits.")},
            set(Limits.__dataclass_fields__),
        )

    def test_the_password_policy_is_that_of_passwords(self) -> None:
        """`[passwords]` has the parts of the policy that is applied, with its defaults."""
        self.assertEqual(asdict(Config().passwords), asdict(Policy()))


class Values(Case):
    """What is set is what is had."""

    def test_nothing_set(self) -> None:
        """No file, no environment, no command line: the defaults."""
        self.assertEqual(load(), Config())
        self.assertEqual(load(None, {"HOME": "/", "CHATD_PORT": "tcp://10.0.0.1"}, {"data": None}), Config())

    def test_frozen(self) -> None:
        """What was loaded does not change."""
        with self.assertRaises(FrozenInstanceError):
            Config().node = 3  # type: ignore[misc]

    def test_a_file(self) -> None:
        """Keys, tables, dotted keys and inline tables are all read; what is not named keeps its default."""
        config = self.load(
            'data = "/srv/chat"\n'
            'listen = ["unix:/run/chatd", "haproxy:tcp:8001"]\n'
            "log.json = true\n"
            'accounts = { registration = "closed" }\n'
            "[server]\n"
            'motd = "/etc/motd"\n'
            'operators = ["alice"]\n'
            "[limits]\n"
            "lines_per_second = 5\n"
        )
        self.assertEqual(config.data, Path("/srv/chat"))
        self.assertEqual(config.listen, ("unix:/run/chatd", "haproxy:tcp:8001"))
        self.assertEqual((config.log.json, config.log.addresses), (True, True))
        self.assertEqual((config.accounts.registration, config.accounts.bcrypt_cost), ("closed", 12))
        self.assertEqual((config.server.motd, config.server.operators), (Path("/etc/motd"), ("alice",)))
        self.assertEqual(config.limits, Limits(lines_per_second=5.0))
        self.assertIs(type(config.limits.lines_per_second), float)

    def test_the_order_of_the_three(self) -> None:
        """The command line goes over the environment, which goes over the file."""
        self.path.write_text('data = "file"\nnode = 1\ndurability = "normal"\n', "utf-8")
        config = load(self.path, {"CHATD_DATA": "environment", "CHATD_NODE": "2"}, {"data": "line"})
        self.assertEqual((config.data, config.node, config.durability), (Path("line"), 2, "normal"))

    def test_the_environment_reaches_every_option(self) -> None:
        """Each option has its variable, read as the option's type."""
        config = load(
            None,
            {
                "CHATD_LISTEN": "tcp:8000:interface=127.0.0.1 unix:/run/chatd",
                "CHATD_LOG_JSON": "yes",
                "CHATD_LOG_ADDRESSES": "0",
                "CHATD_SERVER_MOTD": "",
                "CHATD_LIMITS_LINES_BURST": "7",
                "CHATD_LIMITS_DRAIN_SECONDS": "0",
            },
        )
        self.assertEqual(config.listen, ("tcp:8000:interface=127.0.0.1", "unix:/run/chatd"))
        self.assertEqual((config.log.json, config.log.addresses, config.server.motd), (True, False, None))
        self.assertEqual(config.limits, Limits(lines_burst=7, drain_seconds=0.0))
        text = {name: "CHATD_" + name.replace(".", "_").upper() for name in OPTIONS}
        self.assertEqual(len(set(text.values())), len(OPTIONS))

    def test_the_command_line(self) -> None:
        """Options come by name, as text or as what they are."""
        config = load(None, None, {"listen": ["tcp:1", "tcp:2"], "log.json": True, "node": "3", "data": Path("/x")})
        self.assertEqual((config.listen, config.log.json, config.node), (("tcp:1", "tcp:2"), True, 3))
        self.assertEqual(config.data, Path("/x"))


class Refusals(Case):
    """A file that is not understood is not used; each problem names its line."""

    def test_unknown_keys(self) -> None:
        """An unknown key or table is an error, with the nearest that exists."""
        self.assertEqual(
            self.problems(
                "# a comment\n"
                'dat = "x"\n'
                'registration = "open"\n'
                "zzz = 1\n"
                "\n"
                "[acounts]\n"
                "bcrypt_cost = 4\n"
                "[log]\n"
                "  jsn = true\n"
                "durabilty = 1\n"
                "[server.name]\n"
                "[server.colour]\n"
            ),
            [
                "2: unknown option dat. Did you mean data?",
                "3: unknown option registration. Did you mean registration in [accounts]?",
                "4: unknown option zzz.",
                "6: unknown table [acounts]. Did you mean accounts?",
                "9: unknown option jsn in [log]. Did you mean json?",
                "10: unknown option durabilty in [log]. Did you mean durability above the first table?",
                "11: server.name must be a text in quotes, not a table",
                "12: unknown option colour in [server].",
            ],
        )

    def test_wrong_types(self) -> None:
        """A value of another type is an error, and says what it must be."""
        self.assertEqual(
            self.problems(
                "data = 1\n"
                'listen = "tcp:8000"\n'
                "node = 1.5\n"
                "insecure_plaintext = 1\n"
                "trusted_proxies = [1]\n"
                "groups = true\n"
                "[limits]\n"
                "lines_burst = true\n"
                'lines_per_second = "fast"\n'
                "[[log]]\n"
            ),
            [
                "1: data must be a text in quotes, not 1",
                '2: listen must be a list of texts, ["…", "…"], not "tcp:8000"',
                "3: node must be a whole number from 0 to 999, not 1.5",
                "4: insecure_plaintext must be true or false, not 1",
                '5: trusted_proxies must be a list of texts, ["…", "…"], not [1]',
                "6: groups must be a table: [groups]",
                "8: limits.lines_burst must be a whole number from 1 to 1099511627776, not true",
                '9: limits.lines_per_second must be a number from 0 to 1099511627776, not "fast"',
                "10: log must be a table: [log]",
            ],
        )

    def test_out_of_range(self) -> None:
        """A value that cannot work is an error."""
        self.assertEqual(
            self.problems(
                'data = ""\n'
                "listen = []\n"
                'durability = "ful"\n'
                'trusted_proxies = ["localhost"]\n'
                "[accounts]\n"
                "bcrypt_cost = 3\n"
                "[server]\n"
                'name = "a b"\n'
                "[limits]\n"
                "lines_burst = 0\n"
                "login_seconds = 0.0\n"
                "cursor_seconds = nan\n"
                "lines_per_second = inf\n"
                "line_bytes = 10\n"
            ),
            [
                "1: data must name a folder",
                "2: listen must name at least one endpoint",
                '3: durability must be one of "full", "normal", not "ful"',
                '4: trusted_proxies must hold addresses or networks, not "localhost"',
                "6: accounts.bcrypt_cost must be a whole number from 4 to 20, not 3",
                '8: server.name must be a name such as chat.example.org, not "a b"',
                "10: limits.lines_burst must be a whole number from 1 to 1099511627776, not 0",
                "11: limits.login_seconds must be more than 0, not 0.0",
                "12: limits.cursor_seconds must be a number from 0 to 1099511627776, not nan",
                "13: limits.lines_per_second must be a number from 0 to 1099511627776, not inf",
                "14: limits.line_bytes must be a whole number from 512 to 1048576, not 10",
            ],
        )

    def test_lines_of_unusual_keys(self) -> None:
        """Quoted, dotted and inline keys have their lines too, and text that looks like a key does not."""
        self.assertEqual(
            self.problems(
                '[server]\nbanner = """\nnode = 1\n[log]\njson = 1\n"""\n"nmae" = 1\n[ "log" ]\n\'jsno\' = 1\n'
            ),
            [
                "7: unknown option nmae in [server]. Did you mean name?",
                "9: unknown option jsno in [log]. Did you mean json?",
            ],
        )
        self.assertEqual(
            self.problems("\nlog.json = 1\ngroups = { autocreate = 2 }\n"),
            ["2: log.json must be true or false, not 1", "3: groups.autocreate must be true or false, not 2"],
        )

    def test_not_toml(self) -> None:
        """A file that is not TOML, or not UTF-8, is an error with its line; one that is not there, with its name."""
        self.assertEqual(self.problems("node = 1\nnode = 2\n"), ["2: Cannot overwrite a value"])
        self.assertEqual(self.problems("node = 1\n\nlisten = ["), ["3: Invalid value"])
        self.path.write_bytes(b'node = 1\ndata = "\xff"\n')
        self.assertEqual(str(self.assertRaises(ConfigError, load, self.path)), f"{self.path}:2: not UTF-8")
        self.assertEqual(str(self.assertRaises(ConfigError, load, "/none")), "/none: No such file or directory")

    def test_environment_and_command_line(self) -> None:
        """They are held to the same rules, and all is reported at once."""
        self.path.write_text("\nnode = -1\n", "utf-8")
        error = self.assertRaises(
            ConfigError, load, self.path, {"CHATD_LOG_JSON": "maybe", "CHATD_NODE": "x"}, {"dta": "x", "log.size": 1}
        )
        self.assertEqual(
            error.problems,
            (
                f"{self.path}:2: node must be a whole number from 0 to 999, not -1",
                'environment: CHATD_NODE: node must be a whole number from 0 to 999, not "x"',
                'environment: CHATD_LOG_JSON: log.json must be true or false, not "maybe"',
                "command line: unknown option dta. Did you mean data?",
                "command line: log.size must be a whole number from 10000 to 1099511627776, not 1",
            ),
        )

    @given(st.text(max_size=80))
    def test_any_text(self, text: str) -> None:
        """Any text is a configuration or a `ConfigError`."""
        self.path.write_text(text, "utf-8", newline="")
        try:
            load(self.path)
        except ConfigError as error:
            self.assertTrue(error.problems)

    @given(
        st.dictionaries(
            st.sampled_from([*OPTIONS, "lgo", "limits.x", "limits", "a.b"]),
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text())),
            max_size=4,
        )
    )
    def test_any_value(self, overrides: dict[str, object]) -> None:
        """Any value for any option is taken or a `ConfigError`."""
        try:
            load(None, None, overrides)
        except ConfigError as error:
            self.assertTrue(error.problems)
