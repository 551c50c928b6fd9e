"""The names of timm's networks, without loading timm, which loads torch and takes seconds.

timm registers a network where it is written, with a decorator over its function, so its source
says them all. A test holds this list against timm's own. Where timm came without its source
the list is empty: nothing is completed, and a misspelt name is refused later.
"""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path

_REGISTERED = re.compile(r"^@register_model\s*\n(?:@.*\n)*def (\w+)", re.MULTILINE)
_FORMER = re.compile(r"^register_model_deprecations\(.*?^\}?\)", re.MULTILINE | re.DOTALL)
_KEY = re.compile(r"""['"](\w+)['"]\s*:""")


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
