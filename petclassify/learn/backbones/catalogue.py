"""Which networks there are: the zoo, those whose weights come with the install, timm's families."""

from __future__ import annotations

import fnmatch
from dataclasses import asdict, dataclass
from typing import Any

import timm

from petclassify.config import ZOO_PREFIX
from petclassify.errors import UsageError
from petclassify.learn import zoo
from petclassify.learn.backbones.sources import PACKAGED_WEIGHTS


@dataclass(frozen=True)
class Catalogue:
    """Names that `--backbone` takes.

    Attributes:
        zoo: trained from scratch.
        offline: pretrained, no hub needed.
        families: of timm's pretrained networks, by timm's module, with their names.

    """

    zoo: tuple[str, ...]
    offline: tuple[str, ...]
    families: dict[str, tuple[str, ...]]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def read_catalogue() -> Catalogue:
    """List all networks by name."""
    families = {
        module: tuple(timm.list_models(module=module, pretrained=True))
        for module in timm.list_modules()
    }
    return Catalogue(
        tuple(f"{ZOO_PREFIX}{name}" for name in zoo.NETWORKS),
        tuple(PACKAGED_WEIGHTS),
        {module: names for module, names in families.items() if names},
    )


def matching(pattern: str) -> list[str]:
    """Names that a pattern such as `resnet*` fits.

    Raises:
        UsageError: it fits none.

    """
    names = [f"{ZOO_PREFIX}{name}" for name in zoo.NETWORKS] + timm.list_models(pretrained=True)
    found = fnmatch.filter(names, pattern)
    if not found:
        raise UsageError(f"no network is called like {pattern!r}. See petclassify networks")
    return found
