"""PyTorch's transfer-learning tutorial, both forms: all layers, or (`--frozen`) the last one.

https://docs.pytorch.org/tutorials/beginner/transfer_learning_tutorial.html: batches of 4, SGD at
0.001 with momentum 0.9, a tenth of it every 7 epochs, 25 epochs (no run gets to their end
within the budget). Its network is changed to timm's, so that the weights are the same for
all; with it go the means and deviations. Its export is `torch.save`, here of the whole model.
"""

from __future__ import annotations

import timm
import torch
from journal import Journal
from judge import judge
from options import NETWORK, Options, photos_of, read_options
from PIL import Image
from torch import nn, optim
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, transforms

EVEN = transforms.Normalize([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
TRAINING = transforms.Compose(
    [
        transforms.RandomResizedCrop(224),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        EVEN,
    ]
)
JUDGING = transforms.Compose(
    [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), EVEN]
)


def train(options: Options) -> None:
    """Fit and save."""
    photos = datasets.ImageFolder(options.data / "train", TRAINING)
    loader = DataLoader(photos, batch_size=4, shuffle=True, num_workers=2)
    test = datasets.ImageFolder(options.data / "test", JUDGING)
    model = timm.create_model(
        NETWORK, pretrained=True, pretrained_cfg_overlay={"file": str(options.weights)}
    )
    if options.frozen:
        for parameter in model.parameters():
            parameter.requires_grad = False
    model.classifier = nn.Linear(model.classifier.in_features, len(photos.classes))
    model.class_names = photos.classes
    criterion = nn.CrossEntropyLoss()
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = optim.SGD(trained, lr=0.001, momentum=0.9)
    scheduler = lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    journal = Journal(options.journal, options.budget_s) if options.epochs else None
    for _ in range(options.epochs):
        model.train()
        for inputs, labels in loader:
            optimizer.zero_grad()
            with torch.set_grad_enabled(True):
                loss = criterion(model(inputs), labels)
                loss.backward()
                optimizer.step()
        scheduler.step()
        if judge(journal, model, test):
            break
    torch.save(model, options.model)
    if journal:
        journal.exported()


class Photos(Dataset):
    """Photos without labels."""

    def __init__(self, paths: list) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return JUDGING(Image.open(self.paths[index]).convert("RGB"))


def predict(options: Options) -> None:
    """Photos through the saved model, a folder by two workers."""
    model = torch.load(options.model, weights_only=False).eval()
    photos = photos_of(options.data)
    workers = 2 if len(photos) > 1 else 0
    found = []
    with torch.inference_mode():
        for inputs in DataLoader(Photos(photos), batch_size=32, num_workers=workers):
            found.extend(model(inputs).softmax(1))
    for photo, shares in zip(photos, found, strict=True):
        print(photo, model.class_names[int(shares.argmax())], float(shares.max()))


if __name__ == "__main__":
    given = read_options(epochs=25)
    {"train": train, "predict": predict}[given.verb](given)
