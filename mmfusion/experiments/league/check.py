"""Cells of a league computed again: pictures fused once more, scored, and looked at by a task network."""

import copy
import tempfile
from pathlib import Path
from typing import Callable, Dict, List, Mapping, NamedTuple, Sequence

import numpy as np

from mmfusion.evaluation.folders.scoring import single_thread
from mmfusion.experiments.verdict.record import Record
from mmfusion.fileio.image_reading import read_image
from mmfusion.fileio.reading import read_record

from .cost import count_operations
from .measure import load_record, rate_picture, test_network
from .methods import Pictures, build_method, make_inferencer
from .pair_set import LOAD, PairSet
from .settings import Cost, Method, Network, Pairs

#: Another machine sums in another order, and a value between two levels may go to either; few go further.
LEVELS, SHARE = 1, 1e-3
#: Largest relative difference of a metric, and the same of what a network gives.
METRIC_TOLERANCE, NETWORK_TOLERANCE = 1e-6, 1e-3


class Again(NamedTuple):
    """Outcome.

    Attributes:
        wrong: A sentence for each number or picture that is another one.
        done: What was computed again.
    """

    wrong: List[str]
    done: str = ''


def recompute_cell(config: Mapping, folder: Path, choose: Callable[[Sequence[str]], List[str]]) -> Again:
    """Compute a sample of a cell again, from the config in its manifest.

    Args:
        config: What :func:`~mmfusion.experiments.league.cells.cell_config` has written.
        folder: Folder of the cell.
        choose: Names of the pairs to look at, out of all of them.

    Returns:
        Again: Nothing is done for a course, whose trainings have manifests of their own, nor for pictures that a user
        made.
    """
    cell, device = config['cell'], config['device']
    values = read_record(folder / 'result.json', 'run the league again')['values']
    if cell['kind'] == 'cost':
        return _operations(Method(**config['method']), Cost(**config['cost']), device, values)
    if cell['kind'] == 'course' or cell['kind'] == 'pictures' and config['method']['folder']:
        return Again([])
    pairs = PairSet(Pairs(cell['data'], cell['data'], config['pairs_dataloader']['dataset']))
    files = {name: str(folder.parents[2] / file) for name, file in config['pictures'].items()}
    pictures, chosen = Pictures(files), choose([name for name in pairs.names if name in files])
    if cell['kind'] == 'pictures':
        return _pictures(Method(**config['method']), pairs, chosen, pictures, device)
    if cell['kind'] == 'scores':
        return _scores(pictures, pairs, chosen, config['metrics'], config['protocol'], values)
    return _answers(Network(**config['network']), pictures, pairs, chosen, load_record(folder), device)


def _pictures(method: Method, pairs: PairSet, chosen: Sequence[str], stored: Pictures, device: str) -> Again:
    fuse, wrong = make_inferencer(method, LOAD, device), []
    for name in chosen:
        item = pairs.item(pairs.names.index(name))
        fused = fuse(item['first'], item['second'], channel_order='bgr', progress=False)[0].fused
        before = read_image(stored.files[name])
        now = fused.reshape(*fused.shape[:2], -1)
        if now.shape != before.shape:
            wrong.append(
                f'{name}: the picture has {before.shape[1]}x{before.shape[0]} pixels, fused again '
                f'{now.shape[1]}x{now.shape[0]}'
            )
            continue
        far = np.abs(now.astype(int) - before.astype(int)) > LEVELS
        if far.mean() > SHARE:
            wrong.append(f'{name}: fused again, {far.mean():.1%} of its values differ by more than {LEVELS} of 255')
    return Again(wrong, f'{len(chosen)} of {len(pairs)} pictures fused again')


def _scores(
    pictures: Pictures, pairs: PairSet, chosen: Sequence[str], metrics: Sequence[str], protocol: str, stated: Mapping
) -> Again:
    wrong = []
    with single_thread():
        for name in chosen:
            again = rate_picture(pictures, pairs, pairs.names.index(name), metrics, protocol)
            for metric in metrics:
                before, now = stated[name][metric], again[metric]
                before = float('nan') if before is None else before
                if not np.isclose(before, now, METRIC_TOLERANCE, METRIC_TOLERANCE * 1e-3, equal_nan=True):
                    wrong.append(f'{name}: {metric} was {before:.6g}, is {now:.6g}')
    return Again(wrong, f'{len(chosen)} of {len(pairs)} pictures scored again ({protocol})')


def _answers(
    network: Network, pictures: Pictures, pairs: PairSet, chosen: Sequence[str], before: Record, device: str
) -> Again:
    some = pairs.only(chosen)
    with tempfile.TemporaryDirectory() as folder:
        test_network(network, pictures, some, Path(folder), device)
        now = load_record(Path(folder))
    wrong = []
    for name in chosen:
        old, new = _of_image(before, name), _of_image(now, name)
        wrong += [
            f'{name}: {what} differ from what {network.title} found' for what in old if not _close(old[what], new[what])
        ]
    return Again(wrong, f'{network.title} has looked at {len(chosen)} of {len(pairs)} pictures again')


def _of_image(record: Record, name: str) -> Dict[str, np.ndarray]:
    """Scores and edges of the boxes of one image in ascending order, or its pixels by class."""
    index = record.names.index(name)
    if record.found is None:
        return dict(pixels=record.confusion[index].ravel().astype(float))
    mine = record.found.image == index
    return dict(scores=np.sort(record.found.score[mine]), boxes=np.sort(record.found.box[mine], axis=0).ravel())


def _close(before: np.ndarray, now: np.ndarray) -> bool:
    """Whether the sums of differences are small: single pixels may turn, and a faint box may come or go."""
    length = max(len(before), len(now))
    old, new = (np.concatenate([np.zeros(length - len(values)), values]) for values in (before, now))
    return np.abs(old - new).sum() <= 2 * NETWORK_TOLERANCE * max(old.sum(), new.sum())


def _operations(method: Method, cost: Cost, device: str, stated: Mapping) -> Again:
    coupling = build_method(copy.deepcopy(method), device)
    wrong = [
        f'{name}: was {stated[name]:.6g}, is {now:.6g}'
        for name, now in count_operations(coupling, cost).items()
        if not np.isclose(stated[name], now, METRIC_TOLERANCE)
    ]
    return Again(wrong, 'parameters and operations counted again; times are those of the machine that measured them')
