"""The weights of an architecture search as a picture: one row per position, one column per candidate."""

from pathlib import Path
from typing import Sequence, Union

import numpy as np

from mmfusion.fileio.figures import new_figure, save_figure

_DARK = 0.5  # of the largest weight: darker cells get white text


def draw_architecture(
    weights: np.ndarray, positions: Sequence[str], candidates: Sequence[str], path: Union[str, Path], title: str = ''
) -> str:
    """Draw operation weights, with a frame around the largest one of every position.

    Args:
        weights: (positions, candidates), rows sum up to 1.
        positions: Names of the rows.
        candidates: Names of the columns.
        path: File to write; its extension chooses the format (png, pdf, svg).
        title: Title of the picture.

    Returns:
        The path.

    Raises:
        ValueError: The names do not fit the weights.
        OSError: The file cannot be written.
    """
    from matplotlib.patches import Rectangle

    weights = np.asarray(weights, dtype=float)
    if weights.shape != (len(positions), len(candidates)):
        raise ValueError(
            f'weights of shape {weights.shape} have no {len(positions)} positions and {len(candidates)} candidates'
        )
    figure = new_figure(figsize=(1.8 + 0.75 * len(candidates), 1.6 + 0.35 * len(positions)), layout='constrained')
    axis = figure.subplots()
    axis.imshow(weights, cmap='Blues', vmin=0, vmax=max(weights.max(), 1e-12), aspect='auto')
    for row, values in enumerate(weights):
        for column, value in enumerate(values):
            axis.text(
                column,
                row,
                f'{value:.2f}',
                ha='center',
                va='center',
                fontsize=7,
                color='white' if value > _DARK * weights.max() else 'black',
            )
        axis.add_patch(
            Rectangle((int(values.argmax()) - 0.5, row - 0.5), 1, 1, fill=False, edgecolor='tab:red', linewidth=1.5)
        )
    axis.set_xticks(range(len(candidates)), candidates, rotation=35, ha='right', fontsize=7)
    axis.set_yticks(range(len(positions)), positions, fontsize=7)
    axis.set_title(title, fontsize=9)
    return save_figure(figure, path, dpi=120, sync=False)
