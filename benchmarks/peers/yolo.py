"""Ultralytics' classifier, for start-up and prediction only.

Its networks cannot take the weights that the others share, and its own are fetched by name;
here YOLO11n-cls is built from its description, with random weights. What it says of a photo
means nothing; what it costs is the same.
"""

from __future__ import annotations

from options import Options, read_options
from ultralytics import YOLO


def train(options: Options) -> None:
    """Write a network with random weights."""
    YOLO("yolo11n-cls.yaml").save(options.model)


def predict(options: Options) -> None:
    """One photo, or a folder of class folders, in batches of 32."""
    source = options.data if options.data.is_file() else options.data / "*" / "*.jpg"
    model = YOLO(options.model)
    for one in model.predict(str(source), stream=True, batch=32, verbose=False, save=False):
        print(one.path, one.names[one.probs.top1], float(one.probs.top1conf))


if __name__ == "__main__":
    given = read_options()
    {"train": train, "predict": predict}[given.verb](given)
