"""A systemd of a test's own: a real system manager in its own namespaces, with the units as they are shipped.

The rule: nothing of it is seen outside. It has its own processes, mounts and control group, a copy of /etc, empty
folders for /run, /var/lib and /opt, and ends with whoever started it. This Python and this checkout stand where
docs/operations.md installs them. Where a machine does not allow all that, there is none (`NoManager` says why).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

from tests.live import ROOT, needs

SYSTEMD: Final = Path("/lib/systemd/systemd")
UNITS: Final = ROOT / "etc" / "systemd"
GROUPS: Final = Path("/sys/fs/cgroup")
NAMESPACES: Final = ("--pid", "--mount", "--uts", "--ipc", "--cgroup")
TARGETS: Final = (
    "basic",
    "sysinit",
    "sockets",
    "shutdown",
    "umount",
    "timers",
    "paths",
    "slices",
    "local-fs",
    "network",
)
"""What our units lean on of systemd's own; nothing else of it is started."""

BOOT: Final = r"""
set -e
mount --make-rprivate /
mkdir "$FOLDER/etc" && cp -a /etc/. "$FOLDER/etc"
for place in /run /var/lib /opt; do mount -t tmpfs -o mode=755 tmpfs $place; done
mkdir -p /run/etc /run/units /run/backups /opt/python /opt/chatd/bin /opt/chatd/lib /opt/chatd/src
cp -a "$FOLDER/etc/." /run/etc && mount --bind /run/etc /etc
mount --bind /run/backups /var/backups
rm -rf /etc/systemd/system && mkdir -p /etc/systemd/system
mount --bind "$PREFIX" /opt/python
mount --bind "$PACKAGES" /opt/chatd/lib
mount --bind "$CHECKOUT" /opt/chatd/src
program() {
    cat > /opt/chatd/bin/$1 <<END
#!/bin/sh
export PYTHONPATH=/opt/chatd/src:/opt/chatd/lib LD_LIBRARY_PATH=/opt/python/lib
exec /opt/python/bin/python$VERSION -c "import sys; from $2 import $3; sys.exit($3())" "\$@"
END
    chmod 755 /opt/chatd/bin/$1
}
program twistd twisted.scripts.twistd run
program chatctl chatd.ctl.main main
for target in $TARGETS; do cp /lib/systemd/system/$target.target /run/units; done
umount -R /sys/fs/cgroup
if [ "$UNIFIED" = 1 ]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
    mount -t tmpfs tmpfs /sys/fs/cgroup
    mkdir /sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
fi
export container=chatd-test SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/units
exec "$SYSTEMD" --system --unit=basic.target --show-status=no --log-target=console
"""


class NoManager(Exception):
    """It cannot be started here; why."""


def _group() -> Path:
    """A control group of our own below the one that this process is in, so that nothing above is touched."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if controllers == "name=systemd" or (number == "0" and not (GROUPS / "systemd").is_dir()):
            base = GROUPS / "systemd" if controllers else GROUPS
            return base / path.lstrip("/") / f"chatd-test-{os.getpid()}"
    raise NoManager("there are no control groups")


class Manager:
    """The running manager. `close` ends it, and whatever it has started."""

    def __init__(self, folder: Path) -> None:
        """@raise NoManager: it cannot be started here."""
        if os.geteuid():
            raise NoManager("only root can start a system manager")
        if not SYSTEMD.exists():
            raise NoManager("systemd is not installed: apt-get install systemd")
        self._unshare, self._nsenter = needs("unshare"), needs("nsenter")
        self._group = _group()
        try:
            self._group.mkdir()
        except OSError as error:
            raise NoManager(f"control groups cannot be made: {error}") from None
        folder.mkdir()
        self._output = folder / "output"
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "FOLDER": str(folder.absolute()),
            "PREFIX": sys.base_prefix,
            "PACKAGES": sysconfig.get_path("purelib"),
            "CHECKOUT": str(ROOT),
            "VERSION": f"{sys.version_info.major}.{sys.version_info.minor}",
            "TARGETS": " ".join(TARGETS),
            "UNIFIED": "0" if (GROUPS / "systemd").is_dir() else "1",
            "SYSTEMD": str(SYSTEMD),
        }
        into = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
        words = (self._unshare, "--fork", "--kill-child", "--mount-proc", *NAMESPACES, "/bin/bash", "-c", BOOT)
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", into, str(self._group), *words],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def pid(self) -> int:
        """The manager's process, as seen from here; 0: there is none yet. @raise NoManager: it has ended."""
        if self._process.poll() is not None:
            raise NoManager(self._output.read_text(errors="replace").strip() or "it ended without a word")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def argv(self, *words: str) -> tuple[str, ...]:
        """What runs `words` where the manager is: among its processes and files."""
        return (self._nsenter, "-t", str(self.pid()), "-m", "-p", "-i", "-u", "-C", *words)

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(NoManager):
            if pid := self.pid():
                os.kill(pid, signal.SIGKILL)  # the first of its processes takes all others along, then unshare ends
            else:
                self._process.kill()
        self._process.wait()
        for folder, _, _ in os.walk(self._group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        shutil.rmtree(self._output.parent / "etc", ignore_errors=True)
