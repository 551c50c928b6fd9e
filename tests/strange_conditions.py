"""Conditions under which a command may be started, as a shell makes them.

Each is a line of bash in which `"$@"` is the command and $PLACE an empty folder that the
condition may spoil. What a command may end with there is said beside it: 0 where it must do
its work, else the code of the fault that it must name.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

DONE = frozenset({0})
SAID = frozenset({0, 6})  # does its work where it needs nothing that is missing, else says so


@dataclass(frozen=True)
class Condition:
    """A way to start a command, and the exit codes that it may end with.

    Attributes:
        name: for the table.
        shell: the line of bash.
        codes: of commands that survive.
        bound: whether root's right to pass over permissions is dropped, or nothing is noticed.

    """

    name: str
    shell: str
    codes: Collection[int] = DONE
    bound: bool = False


STREAMS = (
    Condition("stdout closed", '"$@" >&-'),
    Condition("stderr closed", '"$@" 2>&-'),
    Condition("stdin closed", '"$@" <&-'),
    Condition("all three closed", '"$@" <&- >&- 2>&-'),
    Condition("stdout full", '"$@" >/dev/full', SAID),
    Condition("stderr full", '"$@" 2>/dev/full'),
    Condition("| head -1", '"$@" | head -1'),
    Condition("| a reader that is gone", '"$@" | true'),
    Condition("2>&1 | a reader that is gone", '"$@" 2>&1 | true'),
    Condition("no terminal, own session", 'setsid --wait "$@" </dev/null'),
    Condition("a terminal", 'script -qec "$(printf "%q " "$@")" /dev/null'),
    Condition(
        "a terminal one column wide",
        'script -qec "stty cols 1 rows 1; $(printf "%q " "$@")" /dev/null',
    ),
)
ENVIRONMENT = (
    Condition("NO_COLOR", 'NO_COLOR=1 "$@"'),
    Condition("TERM=dumb", 'TERM=dumb "$@"'),
    Condition("TERM unset", 'env -u TERM "$@"'),
    Condition("COLUMNS=0", 'COLUMNS=0 "$@"'),
    Condition("FORCE_COLOR, COLUMNS=1", 'FORCE_COLOR=1 COLUMNS=1 "$@"'),
    Condition(
        "locale C, Python's own UTF-8 mode off",
        'LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 "$@"',
    ),
    Condition("PYTHONIOENCODING=ascii:strict", 'PYTHONIOENCODING=ascii:strict "$@"'),
    Condition("PYTHONIOENCODING=utf-16", 'PYTHONIOENCODING=utf-16 "$@"'),
    Condition("PYTHONUNBUFFERED", 'PYTHONUNBUFFERED=1 "$@"'),
    Condition("TZ=Pacific/Kiritimati", 'TZ=Pacific/Kiritimati "$@"'),
    Condition("TZ nonsense", 'TZ=":/no/such zone" "$@"'),
    Condition("HOME unset", 'env -u HOME "$@"'),
    Condition("HOME empty", 'HOME= "$@"'),
    Condition("HOME nowhere", 'HOME="$PLACE/none/home" env -u XDG_CACHE_HOME "$@"', SAID),
    Condition("OMP_NUM_THREADS=abc", 'OMP_NUM_THREADS=abc MKL_NUM_THREADS=-1 "$@"'),
    Condition(
        "a notebook's MPLBACKEND, a job of SLURM's",
        "MPLBACKEND=module://none.backend_inline SLURM_JOB_NAME=x SLURM_JOB_ID=1 SLURM_NTASKS=4 "
        'SLURM_PROCID=2 SLURM_LOCALID=2 SLURM_NODEID=0 "$@"',
    ),
    Condition("PYTHONWARNINGS=error", 'PYTHONWARNINGS=error "$@"'),
    Condition("LANG and LC_ALL nonsense", 'LANG=xx LC_ALL=yy.ZZ LANGUAGE=q "$@"'),
    Condition("an almost empty environment", 'env -i PATH="$PATH" PYTHONPATH="$PYTHONPATH" "$@"'),
)
PLACES = (
    Condition(
        "HOME read-only",
        'chmod 555 "$PLACE"; HOME="$PLACE" env -u XDG_CACHE_HOME "$@"',
        SAID,
        bound=True,
    ),
    Condition("the cache is a file", 'touch "$PLACE/c"; XDG_CACHE_HOME="$PLACE/c" "$@"', SAID),
    Condition("working folder read-only", 'cd "$PLACE"; chmod 555 .; "$@"', SAID, bound=True),
    Condition("working folder deleted", 'cd "$PLACE"; rmdir "$PLACE"; "$@"', SAID),
    Condition("ulimit -n 64", 'ulimit -n 64; "$@"'),
    Condition("ulimit -n 32", 'ulimit -n 32; "$@"', SAID),
    Condition("no file over 8 KiB", 'trap "" XFSZ; ulimit -f 8; "$@"', SAID),
    Condition("umask 077", 'umask 077; "$@"'),
    Condition("umask 777", 'umask 777; "$@"', SAID, bound=True),
    Condition("TMPDIR nowhere", 'TMPDIR=/nonexistent "$@"'),
)
CONDITIONS = (*STREAMS, *ENVIRONMENT, *PLACES)
