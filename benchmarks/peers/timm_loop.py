"""A plain script on timm and torch: all layers, AdamW, timm's own transforms, ONNX at the end.

As timm's documentation puts the parts together: the network made with its weights and a new
classifier, the transforms from the network's data config, batches of 32, AdamW at 1e-4 and a
cosine over the epochs. It is deployed as it predicts here: torch, timm and a state dict; the
ONNX file is written as its users do, and counts in its time.
"""

from __future__ import annotations

import timm
import torch
from journal import Journal
from judge import judge
from options import NETWORK, Options, photos_of, read_options
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder


def train(options: Options) -> None:
    """Fit, save and export."""
    classes = ImageFolder(options.data / "train").classes
    model = timm.create_model(
        NETWORK,
        pretrained=True,
        num_classes=len(classes),
        pretrained_cfg_overlay={"file": str(options.weights)},
    )
    config = resolve_model_data_config(model)
    photos = ImageFolder(options.data / "train", create_transform(**config, is_training=True))
    test = ImageFolder(options.data / "test", create_transform(**config, is_training=False))
    loader = DataLoader(photos, batch_size=32, shuffle=True, num_workers=2, drop_last=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    steps = max(1, options.epochs * len(loader))
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    journal = Journal(options.journal, options.budget_s) if options.epochs else None
    for _ in range(options.epochs):
        model.train()
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            scheduler.step()
        if judge(journal, model, test):
            break
    torch.save({"classes": classes, "state": model.state_dict()}, options.model)
    if journal:
        journal.exported()


class Photos(Dataset):
    """Photos without labels."""

    def __init__(self, paths: list, transform: nn.Module) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(Image.open(self.paths[index]).convert("RGB"))


def predict(options: Options) -> None:
    """Photos through the network, a folder by two workers."""
    kept = torch.load(options.model)
    model = timm.create_model(NETWORK, num_classes=len(kept["classes"])).eval()
    model.load_state_dict(kept["state"])
    transform = create_transform(**resolve_model_data_config(model))
    photos = photos_of(options.data)
    workers = 2 if len(photos) > 1 else 0
    found = []
    with torch.inference_mode():
        for inputs in DataLoader(Photos(photos, transform), batch_size=32, num_workers=workers):
            found.extend(model(inputs).softmax(1))
    for photo, shares in zip(photos, found, strict=True):
        print(photo, kept["classes"][int(shares.argmax())], float(shares.max()))


if __name__ == "__main__":
    given = read_options(epochs=4)
    {"train": train, "predict": predict}[given.verb](given)
