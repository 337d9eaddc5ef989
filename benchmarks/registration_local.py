"""Offsets of the parts of the pairs of a registered set: what a transform of the whole picture cannot mend.

    python benchmarks/registration_local.py data/MSRS/train/vi data/MSRS/train/ir --limit 30

Windows of 96x96 pixels of the second image are moved by up to 7 pixels over the first, as the set has both, and stop
where they correlate best, by the edge features of :mod:`mmfusion.registration` and by the bare strength of the
gradient. Windows without a clear place are left out; the table has the median over all pairs for each of nine parts of
the picture. A set that is registered shows noise about zero, one shift too many equal values, a lens that was not taken
out a pull toward the center or away from it.
"""

import argparse
from typing import Callable, Dict, List, Tuple

import cv2
import numpy as np

from mmfusion.fileio.image_reading import read_image
from mmfusion.registration.features import Picture, content_mask, edge_features
from mmfusion.registration.folders import find_pairs

WINDOW, REACH, STEP = 96, 7, 48
LEAST_PEAK, LEAST_LEAD, APART = 0.25, 0.05, 3


def gradient_strength(picture: Picture) -> np.ndarray:
    """(H, W) float32."""
    smooth = cv2.GaussianBlur(picture.image, (0, 0), 0.8)
    return cv2.magnitude(*(cv2.Scharr(smooth, cv2.CV_32F, *order) for order in ((1, 0), (0, 1))))


MEASURES: Dict[str, Callable[[Picture], np.ndarray]] = {
    'edge features': lambda picture: edge_features(picture).values,
    'strength of the gradient': gradient_strength,
}


def best_move(first: np.ndarray, second: np.ndarray, top: int, left: int):
    """Movement (right, down) of one window, to a fraction of a pixel; None where no place is clear."""
    inner = second[top + REACH : top + REACH + WINDOW, left + REACH : left + REACH + WINDOW]
    outer = first[top : top + WINDOW + 2 * REACH, left : left + WINDOW + 2 * REACH]
    score = cv2.matchTemplate(outer, inner, cv2.TM_CCOEFF_NORMED)
    row, column = np.unravel_index(score.argmax(), score.shape)
    if not (0 < row < 2 * REACH and 0 < column < 2 * REACH):
        return None
    y, x = np.ogrid[: 2 * REACH + 1, : 2 * REACH + 1]
    other = score[(y - row) ** 2 + (x - column) ** 2 > APART**2].max()
    if score[row, column] < LEAST_PEAK or score[row, column] - other < LEAST_LEAD:
        return None
    across, down = score[row, column - 1 : column + 2], score[row - 1 : row + 2, column]
    right, below = (float((part[2] - part[0]) / 2 / (2 * part[1] - part[0] - part[2])) for part in (across, down))
    return column - REACH + right, row - REACH + below


def moves_of(first: Picture, second: Picture, measure: Callable) -> List[Tuple[int, int, float, float]]:
    """Part of the picture (row, column out of 3) and movement of every window with a clear place."""
    height, width = first.shape
    one, other = measure(first), measure(second)
    found = []
    for top in range(0, height - WINDOW - 2 * REACH + 1, STEP):
        for left in range(0, width - WINDOW - 2 * REACH + 1, STEP):
            move = best_move(one, other, top, left)
            if move is not None:
                middle = REACH + WINDOW / 2
                found.append((int((top + middle) * 3 / height), int((left + middle) * 3 / width), *move))
    return found


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('first', help='folder of the first images')
    parser.add_argument('second', help='folder of the second images, of equal names and sizes')
    parser.add_argument('--limit', type=int, default=30, help='most pairs, evenly spread')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    pairs = find_pairs(args.first, args.second)
    moves: Dict[str, list] = {name: [] for name in MEASURES}
    for index in np.unique(np.linspace(0, len(pairs) - 1, min(args.limit, len(pairs))).round().astype(int)):
        images = [read_image(path) for path in pairs[index][1:]]
        grays = [
            (
                image
                if image.ndim == 2
                else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
                if image.shape[2] == 3
                else image[..., 0]
            )
            for image in images
        ]
        pictures = [Picture(gray.astype(np.float32), content_mask(gray)) for gray in grays]
        for name, measure in MEASURES.items():
            moves[name] += moves_of(*pictures, measure)
    print('| measure | part | left | middle | right | windows |\n|---|---|---|---|---|---|')
    for name, rows in moves.items():
        table = np.array(rows).reshape(-1, 4)
        for row, part in enumerate(('top', 'middle', 'bottom')):
            cells, count = [], 0
            for column in range(3):
                chosen = table[(table[:, 0] == row) & (table[:, 1] == column)][:, 2:]
                count += len(chosen)
                cells.append(', '.join(f'{value:+.1f}' for value in np.median(chosen, 0)) if len(chosen) > 4 else '-')
            print(f'| {name} | {part} | ' + ' | '.join(cells) + f' | {count} |')


if __name__ == '__main__':
    main()
