"""What a model file says of its training, in words for the page."""

from __future__ import annotations

from collections.abc import Mapping

_LAYERS_TRAINED = {
    "none": "the head",
    "last": "the head and the last stage",
    "gradual": "the head, then stage by stage",
    "all": "all",
}


def training_in_words(training: Mapping[str, object]) -> dict[str, str]:
    """By name; a stranger's file may say anything."""
    facts = {
        "trained": training.get("date"),
        "trained on": _trained_on(training),
        "layers trained": _layers_trained(training),
        "seed": training.get("seed"),
        "versions": training.get("versions"),
    }
    return {name: _in_words(fact) for name, fact in facts.items() if fact is not None}


def _layers_trained(training: Mapping[str, object]) -> str | None:
    shipped = training.get("unfreeze")
    layers = _LAYERS_TRAINED.get(str(shipped))
    if layers and shipped == "none" and training.get("unfreeze_tried", "none") != "none":
        return f"{layers}; fine-tuning was tried, did not beat it and was thrown away"
    return layers


def _trained_on(training: Mapping[str, object]) -> str | None:
    """The photos of each class, by split, that the weights which ship were fitted on."""
    photos = training.get("photos")
    if not isinstance(photos, dict):
        return None
    splits = str(training.get("fitted_on", "train")).split(" and ")
    return "; ".join(f"{s}: {_in_words(photos[s])}" for s in splits if s in photos) or None


def _in_words(fact: object) -> str:
    if isinstance(fact, dict):
        return ", ".join(f"{name} {value}" for name, value in fact.items())
    return str(fact)
