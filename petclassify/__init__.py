"""From a folder of photos to a deployed classifier.

from petclassify import Classifier
Classifier.load("model.onnx").predict("img.jpg")
"""

import os

# ONNX Runtime would write a device id below HOME and report its use over the network.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from petclassify.runtime.classifier import Classifier, Prediction

__all__ = ["Classifier", "Prediction", "__version__"]
__version__ = "0.1.0.dev0"
