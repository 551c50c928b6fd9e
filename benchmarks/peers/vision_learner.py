"""fastai: `vision_learner` and `fine_tune`, as the tutorial on vision teaches.

https://docs.fast.ai/tutorial.vision.html, single-label classification: photos resized to 224,
the usual augmentation, batches of 64. The backbone's weights come from a file through timm,
as fastai loads timm's networks; timm's own figures tell it how to normalise. `test` is the
validation set that fastai judges after each epoch.
"""

from __future__ import annotations

from fastai.vision.all import (
    Callback,
    CancelFitException,
    ImageDataLoaders,
    Resize,
    accuracy,
    aug_transforms,
    load_learner,
    vision_learner,
)
from journal import Journal
from options import NETWORK, Options, photos_of, read_options


class Judge(Callback):
    """Tells the journal of fastai's own validation."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.enough = False

    def before_fit(self) -> None:
        """Leave out what remains of `fine_tune`, which fits twice."""
        if self.enough:
            raise CancelFitException

    def before_validate(self) -> None:
        """Stop the clock."""
        self.clock = self.journal.judging()
        self.clock.__enter__()

    def after_validate(self) -> None:
        """Start it again."""
        self.clock.__exit__(None, None, None)

    def after_epoch(self) -> None:
        """Note the epoch, and stop when told to."""
        loss, share = self.learn.recorder.log[2:4]
        if self.journal.epoch(share, loss):
            self.enough = True
            raise CancelFitException


def train(options: Options) -> None:
    """Fit and export."""
    loaders = ImageDataLoaders.from_folder(
        options.data,
        train="train",
        valid="test",
        item_tfms=Resize(224),
        batch_tfms=aug_transforms(),
        num_workers=2,
    )
    learn = vision_learner(
        loaders,
        NETWORK,
        metrics=accuracy,
        pretrained_cfg_overlay={"file": str(options.weights)},
    )
    if options.epochs:
        journal = Journal(options.journal, options.budget_s)
        learn.add_cb(Judge(journal))
        learn.fine_tune(options.epochs)
        learn.remove_cb(Judge)
    learn.export(options.model)
    if options.epochs:
        journal.exported()


def predict(options: Options) -> None:
    """One photo by `predict`, a folder by a test loader."""
    learn = load_learner(options.model)
    photos = photos_of(options.data)
    if len(photos) == 1:
        with learn.no_bar():
            label, _, shares = learn.predict(photos[0])
        print(photos[0], label, float(shares.max()))
        return
    loader = learn.dls.test_dl(photos, num_workers=2)
    with learn.no_bar():
        shares, _ = learn.get_preds(dl=loader)
    for photo, row in zip(photos, shares, strict=True):
        print(photo, learn.dls.vocab[int(row.argmax())], float(row.max()))


if __name__ == "__main__":
    given = read_options(epochs=1)
    {"train": train, "predict": predict}[given.verb](given)
