"""Sentences that say how things stand in a league."""

import math
from typing import List, Sequence

from .plan import Plan
from .standing import Standing, standing_of


def lead(plan: Plan, standing: Standing) -> List[str]:
    """Sentences that say how things stand, the project's own methods included."""
    settings, sentences = plan.settings, []
    title = {name: method.title for name, method in settings.methods.items()}
    ranked = standing.overall
    if len(ranked) > 1:
        first, *others = sorted(ranked, key=lambda name: ranked[name].value)
        level = [name for name in others if ranked[name].low <= ranked[first].high]
        names = [settings.pairs[data].title for data in standing.sets]
        sets = f'the mean over {join_words(names)}' if len(names) > 1 else names[0]
        sentences.append(
            f'By the mean rank over {len(settings.metrics)} metrics ({sets}), {title[first]} is first of {len(ranked)}:'
            f' {_rank_text(ranked[first])}'
            + (
                f'; {_intervals([title[name] for name in level])} into its own.'
                if level
                else ', and no interval reaches into its own.'
            )
        )
        for kind, whose in (('mmfusion', "Of mmfusion's own"), ('yours', 'Of yours')):
            own = [name for name in ranked if settings.methods[name].kind == kind]
            if own:
                places = sorted((standing_of(ranked, name), name) for name in own)
                sentences.append(
                    f'{whose}: '
                    + ', '.join(
                        f'{title[name]} is {_ordinal(place)} ({ranked[name].value:.1f})' for place, name in places
                    )
                    + '.'
                )
    for data, part in standing.sets.items():
        for name, answer in part.answers.items():
            known = {method: value.value for method, value in answer.values.items() if math.isfinite(value.value)}
            if len(known) > 1:
                best = max(known, key=known.get)
                level = [title[method] for method in answer.level if method != best]
                sentences.append(
                    f'{settings.networks[name].title}, untouched, has its highest {answer.metric} on '
                    f'{settings.pairs[data].title} with {title[best]} ({known[best]:.3f}); '
                    + (
                        f'the {len(part.names)} pairs cannot tell {len(level)} of the other {len(known) - 1} from it.'
                        if level
                        else f'the {len(part.names)} pairs tell it from all others.'
                    )
                )
    return sentences


def _intervals(names: Sequence[str]) -> str:
    return f'the intervals of {join_words(names)} reach' if len(names) > 1 else f'the interval of {names[0]} reaches'


def _rank_text(estimate) -> str:
    interval = f' ({estimate.low:.1f} to {estimate.high:.1f})' if math.isfinite(estimate.low) else ''
    return f'{estimate.value:.1f}{interval}'


def _ordinal(number: int) -> str:
    ending = 'th' if number % 100 in (11, 12, 13) else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')
    return f'{number}{ending}'


def join_words(words: Sequence[str]) -> str:
    """Words as a sentence has them: ``'a, b and c'``."""
    return words[0] if len(words) == 1 else ', '.join(words[:-1]) + f' and {words[-1]}'
