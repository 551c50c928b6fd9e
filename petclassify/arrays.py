"""The arrays that pass from room to room, by the words that every room uses.

images -> `Pixels` -> `Features` -> `Logits` -> `Probabilities`, beside the `Labels`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (height, width, 3) or (N, height, width, 3), 0 to 255
Features = NDArray[np.float32]  # (N, num_features)
Logits = NDArray[np.float64]  # (N, num_classes)
Probabilities = NDArray[np.float64]  # (N, num_classes), each row sums to 1
Labels = NDArray[np.int64]  # (N,), positions in the class names
