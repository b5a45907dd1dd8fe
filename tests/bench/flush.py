"""A disk that takes its time: fsync and fdatasync of one process made slower by a shared library put before libc.

Virtual disks often acknowledge a flush in microseconds, which no real disk does. The library is compiled at bench time;
without a C compiler the rows that need it are skipped, visibly.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from servers import Missing

_SOURCE = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void wait_for_the_disk(void) {
    const char *text = getenv("BENCH_FLUSH_US");
    long us = text ? atol(text) : 0;
    struct timespec pause = {us / 1000000, us % 1000000 * 1000};
    if (us > 0) nanosleep(&pause, NULL);
}

int fsync(int fd) { wait_for_the_disk(); return (int) syscall(SYS_fsync, fd); }
int fdatasync(int fd) { wait_for_the_disk(); return (int) syscall(SYS_fdatasync, fd); }
"""


def slow(where: Path, milliseconds: float) -> dict[str, str]:
    """The environment in which a process's flushes take so much longer; the library is made in `where`."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise Missing("slow flushes need a C compiler")
    source, library = where / "flush.c", where / "flush.so"
    source.write_text(_SOURCE)
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library), "BENCH_FLUSH_US": str(int(milliseconds * 1000))}


def flush_us(where: Path, times: int = 200) -> float:
    """Microseconds an 8 KiB write and its fdatasync take in this folder, the median."""
    took = []
    with (where / "flush.probe").open("wb", buffering=0) as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(bytes(8192))
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    (where / "flush.probe").unlink()
    return sorted(took)[times // 2] * 1e6
