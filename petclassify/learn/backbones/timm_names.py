"""Which networks there are to name, without loading timm, which loads torch and takes seconds.

timm registers a network where it is written, with a decorator over its function, so its source
says them all. A test holds this list against timm's own. Where timm came without its source
the list is empty: nothing is completed, and a misspelt name is refused later.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from petclassify.config import ZOO_PREFIX
from petclassify.errors import UsageError
from petclassify.learn.zoo import NETWORKS

_REGISTERED = re.compile(r"^@register_model\s*\n(?:@.*\n)*def (\w+)", re.MULTILINE)
_FORMER = re.compile(r"^register_model_deprecations\(.*?^\}?\)", re.MULTILINE | re.DOTALL)
_KEY = re.compile(r"""['"](\w+)['"]\s*:""")


def require_timm_name(name: str) -> None:
    """Refuse a name that is none of timm's; its tag is not looked at.

    Raises:
        UsageError: with the nearest names.

    """
    architecture = name.partition(".")[0]
    if timm_names() and architecture not in timm_names() | former_timm_names():
        raise unknown_backbone(architecture or name, timm_names())


def unknown_backbone(name: str, known: Iterable[str]) -> UsageError:
    """Say that nothing is called so, and what is called nearly so."""
    names = [*known, *(ZOO_PREFIX + network for network in NETWORKS)]
    spelt = name.lower()
    exact = [meant for meant in (spelt, ZOO_PREFIX + spelt) if meant in names]
    near = exact or difflib.get_close_matches(spelt, names, n=3)
    hint = f"did you mean {', '.join(near)}?" if near else "see petclassify networks"
    return UsageError(f"unknown backbone {name!r}: {hint}")


@cache
def timm_names() -> frozenset[str]:
    """Names of networks, without tags."""
    return frozenset(name for source in _sources() for name in _REGISTERED.findall(source))


@cache
def former_timm_names() -> frozenset[str]:
    """Names that timm still takes for networks which have another one now."""
    tables = (table for source in _sources() for table in _FORMER.findall(source))
    return frozenset(name for table in tables for name in _KEY.findall(table))


@cache
def _sources() -> tuple[str, ...]:
    found = importlib.util.find_spec("timm")
    places = found.submodule_search_locations if found else None
    paths = sorted(Path(places[0], "models").glob("*.py")) if places else []
    return tuple(path.read_text(encoding="utf-8") for path in paths)
