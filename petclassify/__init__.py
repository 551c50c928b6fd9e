"""From a folder of photos to a deployed classifier.

from petclassify import Classifier
Classifier.load("model.onnx").predict("img.jpg")

Names: a function that does something is a verb (`write_report`); one that only answers is what it
answers with (`familiarity_of`, as Python's own `sorted`), or a question (`is_uri`).
"""

import os

TYPE_CHECKING = False  # typing's own would take longer to import than all else here
if TYPE_CHECKING:
    from petclassify.runtime.classifier import Classifier, Prediction

# ONNX Runtime would write a device id below HOME and report its use over the network.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["Classifier", "Prediction", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import the classifier when it is asked for: the command line handles signals before."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from petclassify.runtime import classifier

    found: object = getattr(classifier, name)
    return found
