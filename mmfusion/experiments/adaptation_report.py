"""Tables and pictures of adaptation curves."""

import math
import statistics
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

from mmfusion.evaluation.protocols import get_metric
from mmfusion.fileio import write_csv, write_text
from mmfusion.fileio.figures import new_figure, save_figure
from mmfusion.fileio.markdown import markdown_table
from mmfusion.utils import UserError

NAME = 'adaptation'


def quantities(results: Sequence[dict]) -> List[str]:
    """What was measured: ``loss``, then the metrics."""
    return [key for key in results[0]['rows'][0] if key != 'step']


def curve(results: Sequence[dict], init: str, key: str) -> Tuple[List[int], List[float], List[float]]:
    """Steps, mean over seeds, and sample standard deviation (0 for one seed) of a quantity of one initialization;
    undefined values are left out.

    Examples:
        >>> runs = [dict(init='meta', seed=s, rows=[dict(step=0, loss=v)]) for s, v in ((0, 1.), (1, 3.))]
        >>> curve(runs, 'meta', 'loss')
        ([0], [2.0], [1.4142135623730951])
    """
    mine = [result['rows'] for result in results if result['init'] == init]
    steps, means, spreads = [], [], []
    for rows in zip(*mine):
        values = [row[key] for row in rows if row[key] is not None and math.isfinite(row[key])]
        steps.append(rows[0]['step'])
        means.append(statistics.mean(values) if values else math.nan)
        spreads.append(statistics.stdev(values) if len(values) > 1 else 0.0)
    return steps, means, spreads


def steps_to_reach(results: Sequence[dict], init: str, other: str, step: int) -> str:
    """After how many steps ``other`` has the mean loss that ``init`` has after ``step``: a point as text, with ``>``
    when it never does.
    """
    steps, means, _ = curve(results, init, 'loss')
    goal = means[steps.index(step)]
    steps, means, _ = curve(results, other, 'loss')
    return next((str(number) for number, mean in zip(steps, means) if mean <= goal), f'> {steps[-1]}')


def table(results: Sequence[dict]) -> str:
    """Markdown: one table per quantity, mean and standard deviation over seeds at each point.

    Examples:
        >>> runs = [dict(init=i, seed=0, rows=[dict(step=0, loss=v), dict(step=5, loss=v / 2)]) for i, v in (('meta', 1.), ('random', 3.))]
        >>> print(table(runs))
        | loss | seeds | 0 steps | 5 steps |
        |---|---|---|---|
        | meta | 1 | 1.0000 | 0.5000 |
        | random | 1 | 3.0000 | 1.5000 |
    """
    inits = list(dict.fromkeys(result['init'] for result in results))
    blocks = []
    for key in quantities(results):
        steps = curve(results, inits[0], key)[0]
        lines = []
        for init in inits:
            seeds = sum(result['init'] == init for result in results)
            cells = [
                f'{mean:.4f}' + (f' ± {spread:.4f}' if seeds > 1 else '')
                for mean, spread in zip(*curve(results, init, key)[1:])
            ]
            lines.append([init, seeds, *cells])
        blocks.append(markdown_table([key, 'seeds', *(f'{step} steps' for step in steps)], lines))
    return '\n\n'.join(blocks)


def write_report(results: Sequence[dict], root: Path) -> Dict[str, str]:
    """Write ``adaptation.csv`` (every run), ``adaptation.md`` (means) and ``adaptation.png`` (curves with the spread
    over seeds).

    Returns:
        dict: Paths by kind.

    Raises:
        UserError: The picture cannot be written.
    """
    paths = {kind: str(Path(root) / f'{NAME}.{kind}') for kind in ('csv', 'md', 'png')}
    write_csv(
        paths['csv'],
        (dict(init=result['init'], seed=result['seed'], **row) for result in results for row in result['rows']),
    )
    write_text(paths['md'], table(results) + '\n')
    _plot(results, paths['png'])
    return paths


def _plot(results: Sequence[dict], path: str) -> None:
    keys, inits = quantities(results), list(dict.fromkeys(result['init'] for result in results))
    protocol = (results[0].get('settings') or {}).get('adaptation', {}).get('protocol', 'default')
    figure = new_figure(layout='constrained', figsize=(3.6 * len(keys), 3.2))
    for axis, key in zip(figure.subplots(1, len(keys), squeeze=False)[0], keys):
        for index, init in enumerate(inits):
            steps, means, spreads = curve(results, init, key)
            axis.plot(steps, means, color=f'C{index}', marker='o', markersize=3, label=init)
            axis.fill_between(
                steps,
                [m - s for m, s in zip(means, spreads)],
                [m + s for m, s in zip(means, spreads)],
                color=f'C{index}',
                alpha=0.2,
            )
        axis.set_xscale('symlog', linthresh=1)
        axis.set_xticks(steps, [str(step) for step in steps], fontsize=7)
        axis.set_xlabel('steps on the new task', fontsize=8)
        better = False if key == 'loss' else get_metric(key, protocol).higher_is_better
        axis.set_title(f'{key} {"↑" if better else "↓"}', fontsize=9)
        axis.tick_params(axis='y', labelsize=7)
    figure.axes[0].legend(fontsize=8)
    seeds = len({result['seed'] for result in results})
    figure.suptitle(f'Pairs of a held-out task; mean and standard deviation over {seeds} seeds', fontsize=9)
    try:
        save_figure(figure, path, dpi=150)
    except (OSError, ValueError) as error:
        raise UserError(f'cannot write the plot {path}: {error}') from error
