"""Learning: backbones, frozen features, heads, export. The only room that imports torch."""
