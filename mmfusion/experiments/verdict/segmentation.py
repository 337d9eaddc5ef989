"""Intersection over union of many resamplings of the images at once, from the confusion matrices of single images."""

from typing import Optional

import numpy as np


def intersection_over_union(confusion: np.ndarray, weights: Optional[np.ndarray] = None) -> np.ndarray:
    """IoU of each class; counts are summed over the images before any ratio is formed.

    Args:
        confusion: (I, C, C) pixels by true and predicted class.
        weights: (B, I) how often each image counts; once each when None.

    Returns:
        ndarray: (B, C), without weights (C, ); NaN for a class that neither occurs nor is predicted.

    Examples:
        >>> intersection_over_union(np.array([[[1, 0], [1, 2]]])).round(3)
        array([0.5  , 0.667])
    """
    if weights is None:
        return intersection_over_union(confusion, np.ones((1, len(confusion))))[0]
    classes = confusion.shape[-1]
    total = (weights @ confusion.reshape(len(confusion), -1).astype(np.float64)).reshape(-1, classes, classes)
    right = np.einsum('bii->bi', total)
    union = total.sum(1) + total.sum(2) - right
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.where(union > 0, right / union, np.nan)
