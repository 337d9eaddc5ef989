"""The gate: a confidence from figures that a wrong registration fails, and the sentences that say why a pair is
refused.
"""

from typing import Dict, List, NamedTuple, Tuple

import numpy as np


class Checks(NamedTuple):
    """Figures of a registration.

    Attributes:
        similarity: Correlation of the edge features under the transform, mean of those at widths of 160 and 320.
        gain: Score above that of the images as they are (centers on each other, equal widths).
        lead: Score above that of the best other place.
        windows: Share of the sub-windows that agree within 2 pixels of 160.
        window_distance: Median distance at which they would rather lie, pixels of 160.
        contrast: How clearly they prefer their place.
        window_count: Number of sub-windows.
        doubt: Standard deviation of the corners that the agreeing sub-windows leave, pixels of 320.
        round_trip: Distance between the transform and the inverse of the one estimated backward, pixels of 320.
        overlap: Shared area over that of the smaller view.
        scale: Size of the second view over that at equal widths.
        movement: Mean distance of the corners from rest, in widths.
    """

    similarity: float
    gain: float
    lead: float
    windows: float
    window_distance: float
    contrast: float
    window_count: int
    doubt: float
    round_trip: float
    overlap: float
    scale: float
    movement: float


#: What the confidence is made of: a logistic function of these, fitted by ``benchmarks/registration.py --fit``.
FEATURES: Dict[str, float] = dict(similarity=2.0, lead=1.56, windows=2.35, window_distance=0.91, doubt=2.11)
BIAS = -0.82
LEAST_OVERLAP = 0.35
MOST_DOUBT = 5.0  # pixels of 320: who knows the corners no better cannot say that they are right


def describe(checks: Dict[str, float]) -> Dict[str, float]:
    """Inputs of the logistic function, each of about unit size; larger is better."""
    return dict(
        similarity=5 * checks['similarity'],
        lead=10 * min(checks['lead'], 0.15),  # a clear lead proves no more when it is clearer
        windows=4
        * checks['windows']
        * checks['window_count']
        / (checks['window_count'] + 6),  # few windows prove little
        window_distance=-float(np.log1p(checks['window_distance'])),
        doubt=-float(np.log1p(checks['doubt'])),
    )


def confidence_of(checks: Dict[str, float]) -> float:
    """Logistic function of the figures, in [0, 1]."""
    score = BIAS + sum(FEATURES[name] * value for name, value in describe(checks).items())
    return float(1 / (1 + np.exp(-np.clip(score, -50, 50))))


def judge(checks: Checks, threshold: float) -> Tuple[float, List[str]]:
    """Confidence, and why a registration is refused.

    Args:
        checks: Figures of the registration.
        threshold: Least confidence.

    Returns:
        Confidence in [0, 1]; one sentence for it when it is too low, and one for each figure that stands out; none if
        the registration is accepted.
    """
    confidence = confidence_of(checks._asdict())
    if confidence >= threshold and checks.overlap >= LEAST_OVERLAP and checks.doubt <= MOST_DOUBT:
        return confidence, []
    reasons = [f'confidence {confidence:.2f} is below {threshold:.2f}'] if confidence < threshold else []
    if checks.overlap < LEAST_OVERLAP:
        reasons.append(f'only {checks.overlap:.0%} of the smaller view overlaps')
    if checks.window_count < 6:
        reasons.append(f'only {checks.window_count} parts of the pictures can be compared')
    elif checks.windows < 0.55:
        reasons.append(f'only {checks.windows:.0%} of the parts of the picture agree with one place')
    if checks.doubt > MOST_DOUBT:
        reasons.append(f'the parts that agree leave the corners open by {checks.doubt:.0f} pixels of 320')
    if checks.similarity < 0.2:
        reasons.append(f'the images share little structure (similarity {checks.similarity:.2f})')
    if checks.lead < 0.02:
        reasons.append(f'another place fits about as well (lead {checks.lead:.2f})')
    if checks.round_trip > 4:
        reasons.append(f'estimated backward, the corners lie {checks.round_trip:.1f} pixels of 320 elsewhere')
    return confidence, reasons
