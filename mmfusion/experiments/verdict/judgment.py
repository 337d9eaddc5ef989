"""Judgment in one sentence: which row is better, and whether the data can tell."""

from typing import Dict, List, NamedTuple, Optional, Sequence

from .resampling import Comparison, Study

#: A gain below this is not worth a second camera, whatever its sign.
MARGIN = 0.01


class Judgment(NamedTuple):
    """What follows from the comparisons.

    Attributes:
        kind: ``'fusion'`` (a way to fuse is better than the better source), ``'single'`` (one source alone does it),
            ``'untold'`` (the data cannot tell), ``'incomplete'`` (rows or seeds that the answer needs are missing).
        single: The better source alone, as a row.
        fused: The best way to fuse, as a row.
        sentence: The answer.
    """

    kind: str
    single: Optional[str]
    fused: Optional[str]
    sentence: str


def judge(
    study: Study, comparisons: Sequence[Comparison], roles: Dict[str, str], titles: Dict[str, str], metric: str
) -> Judgment:
    """Answer whether fusion helps, and by which row.

    Of the rows that use both sources, the one with the best mean is held against the single source with the best mean.
    That these two were chosen for their values is accounted for, since the comparisons allow for having looked at all
    pairs.

    Args:
        study: All rows.
        comparisons: Of all pairs.
        roles: By row: ``'single'`` or ``'fused'``; rows without one are left out.
        titles: By row, how the sentence calls it.
        metric: How the sentence calls the metric.
    """
    values = {name: study.interval(name).value for name in study.rows if name in roles}
    values = {name: value for name, value in values.items() if value == value}
    single = max((name for name in values if roles[name] == 'single'), key=values.get, default=None)
    fused = max((name for name in values if roles[name] == 'fused'), key=values.get, default=None)
    if single is None or fused is None:
        lacking = 'a single source' if single is None else 'a way to fuse'
        return Judgment(
            'incomplete',
            single,
            fused,
            f'Whether fusion helps cannot be said: no row of {lacking} has been tested yet.',
        )
    against = {
        pair.seen_from(name).a: pair.seen_from(name)
        for name in values
        if name != single
        for pair in comparisons
        if {pair.a, pair.b} == {name, single}
    }
    best = against[fused]
    scene = f'{metric} {values[fused]:.3f} against {values[single]:.3f}'
    gain = f'{best.difference.value:+.3f}, 95 % interval {best.low:+.3f} to {best.high:+.3f} over all pairs of rows'
    rivals = [against[name] for name in against if roles[name] == 'fused']
    if not best.difference.seeds_known:
        return Judgment(
            'untold',
            single,
            fused,
            f'The data cannot tell whether fusion helps: the best way to fuse, {titles[fused]}, and {titles[single]}'
            f' were trained with one seed, and another seed might turn {scene} round; train at least two, better'
            ' three.',
        )
    if best.different and best.difference.value > 0:
        return Judgment(
            'fusion',
            single,
            fused,
            f'Fusion helps: {titles[fused]} is better than {titles[single]}, the better source alone ({scene}; '
            f'{gain}){_peers(fused, comparisons, values, roles, titles)}.',
        )
    worse = [pair for pair in rivals if pair.different and pair.difference.value < 0]
    if len(worse) == len(rivals):
        return Judgment(
            'single',
            single,
            fused,
            f'{_capital(titles[single])} does best: every way to fuse is worse, the best of them being '
            f'{titles[fused]} ({scene}; {gain}).',
        )
    if all(pair.high < MARGIN for pair in rivals):
        return Judgment(
            'single',
            single,
            fused,
            f'{_capital(titles[single])} does it: no way to fuse gains as much as {MARGIN:g}, the best of them '
            f'being {titles[fused]} ({scene}; {gain}).',
        )
    if worse and best.difference.value <= 0:
        told = _listed([titles[pair.a] for pair in worse])
        open_ = _listed([titles[pair.a] for pair in rivals if pair not in worse])
        return Judgment(
            'single',
            single,
            fused,
            f'{_capital(titles[single])} does best as far as these data go: {told} {_are(worse)} worse, and '
            f'nothing speaks for {open_}, which the data cannot tell from it ({scene}; {gain}).',
        )
    return Judgment(
        'untold',
        single,
        fused,
        f'The data cannot tell whether fusion helps: what parts {titles[fused]}, the best way to fuse, from'
        f' {titles[single]}, the better source alone, may be the chance of these images and seeds ({scene}; {gain}).',
    )


def judge_company(
    study: Study,
    comparisons: Sequence[Comparison],
    alone: str,
    together: str,
    titles: Dict[str, str],
    task: str,
    metric: str,
) -> str:
    """Answer whether a task gains from being trained together with another.

    Args:
        study: All rows.
        comparisons: Of all pairs.
        alone: Row with this task alone.
        together: Row with all tasks.
        titles: By row, how the sentence calls it.
        task: How the sentence calls the task.
        metric: How it calls the metric.
    """
    question = f'whether training with another task helps {task}'
    values = {name: study.interval(name).value for name in (alone, together)}
    scene = f'{metric} {values[together]:.3f} against {values[alone]:.3f}'
    pair = next((pair.seen_from(together) for pair in comparisons if {pair.a, pair.b} == {alone, together}), None)
    if pair is None or not pair.difference.seeds_known:
        return f'The data cannot tell {question}: {scene} with one seed; train at least two, better three.'
    gain = f'{pair.difference.value:+.3f}, 95 % interval {pair.low:+.3f} to {pair.high:+.3f} over all pairs of rows'
    if not pair.different:
        return f'The data cannot tell {question}: {titles[together]} has {scene} of {titles[alone]} ({gain}).'
    verb, order = ('helps', 'better') if pair.difference.value > 0 else ('harms', 'worse')
    return (
        f'Training with another task {verb} {task}: {titles[together]} is {order} than {titles[alone]}'
        f' ({scene}; {gain}).'
    )


def _peers(
    best: str,
    comparisons: Sequence[Comparison],
    values: Dict[str, float],
    roles: Dict[str, str],
    titles: Dict[str, str],
) -> str:
    """What is to be said of the other ways to fuse."""
    beaten: List[str] = []
    level: List[str] = []
    for name in sorted(
        (name for name in values if roles[name] == 'fused' and name != best), key=values.get, reverse=True
    ):
        pair = next(pair.seen_from(best) for pair in comparisons if {pair.a, pair.b} == {best, name})
        (beaten if pair.different else level).append(titles[name])
    parts = []
    if beaten:
        parts.append(f'it is better than {_listed(beaten)} too')
    if level:
        parts.append(f'the data cannot tell it from {_listed(level)}')
    return '; ' + ', but '.join(parts) if parts else ''


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f'{", ".join(names[:-1])} and {names[-1]}'


def _are(items: Sequence) -> str:
    return 'is' if len(items) == 1 else 'are'


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
