"""Write the tables of docs/en/model_zoo.md from the cards: ``python docs/model_zoo_page.py`` after a change of models.
A test compares them.

The figures of the fixed rules stand in ``model_zoo_rules.json`` beside this file.
"""

import json
import re
from pathlib import Path
from typing import Dict, List

from mmfusion.model_zoo import DEFAULT_MODEL, ModelCard, read_card
from mmfusion.model_zoo.catalog import SHIPPED

PAGE = Path(__file__).resolve().parent / 'en' / 'model_zoo.md'
RULES = Path(__file__).resolve().parent / 'model_zoo_rules.json'
METRICS = ('EN', 'SD', 'SF', 'AG', 'MI', 'SCD', 'VIF', 'Qabf', 'SSIM')
DIGITS = dict(SD=2, SF=2, AG=2)  # three for all others


def cards() -> List[ModelCard]:
    """Cards of the models that ship, the default first."""
    return sorted(map(read_card, SHIPPED.glob('*.json')), key=lambda card: (card.name != DEFAULT_MODEL, card.name))


def models_table() -> str:
    """Names, fusers and sizes."""
    rows = ['| name | what | fuser | parameters | size | for |', '|---|---|---|---|---|---|']
    for card in cards():
        name = f'`{card.name}`' + (' (default)' if card.name == DEFAULT_MODEL else '')
        use = 'research' if 'research' in card.license else 'any use'
        rows.append(
            f'| {name} | {card.summary} | `{card.fuser["type"]}` | {spaced(card.parameters)} | '
            f'{card.size / 1000:.0f} kB | {use} |'
        )
    return '\n'.join(rows)


def spaced(number: int) -> str:
    """Number with a space between thousands.

    Examples:
        >>> spaced(12028)
        '12 028'
    """
    return f'{number:,}'.replace(',', ' ')


def figures() -> Dict[str, Dict[str, Dict[str, float]]]:
    """Values by data set, method and metric; fixed rules first."""
    rules = json.loads(RULES.read_text())
    return {
        data: {**methods, **{f'`{card.name}`': card.figures[data] for card in cards()}}
        for data, methods in rules.items()
    }


def figures_table(methods: Dict[str, Dict[str, float]]) -> str:
    """Table of one data set; the best of each column is bold."""
    rows = ['| | ' + ' | '.join(METRICS) + ' |', '|---' * (len(METRICS) + 1) + '|']
    best = {metric: max(values[metric] for values in methods.values()) for metric in METRICS}
    for name, values in methods.items():
        cells = []
        for metric in METRICS:
            text = f'{values[metric]:.{DIGITS.get(metric, 3)}f}'
            cells.append(f'**{text}**' if values[metric] == best[metric] else text)
        rows.append(f'| {name} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(rows)


def training_table() -> str:
    """Data and commands."""
    rows = ['| name | data | command | commit |', '|---|---|---|---|']
    for card in cards():
        commands = '<br>'.join(f'`{command}`' for command in card.training['command'])
        rows.append(
            f'| `{card.name}` | {"; ".join(card.training["data"])} | {commands} | {card.training["commit"][:7]} |'
        )
    return '\n'.join(rows)


def sections() -> Dict[str, str]:
    """Text between the markers of the page, by name."""
    tables = '\n\n'.join(f'**{data}**\n\n{figures_table(methods)}' for data, methods in figures().items())
    return dict(models=models_table(), figures=tables, training=training_table())


def fill(page: str) -> str:
    """The page with its tables made anew."""
    for name, text in sections().items():
        begin, end = f'<!-- {name} -->', f'<!-- end of {name} -->'
        page, count = re.subn(
            f'{begin}\n.*?{end}',
            lambda _, text=text, begin=begin, end=end: f'{begin}\n{text}\n\n{end}',
            page,
            flags=re.S,
        )
        assert count == 1, f'{PAGE} lacks the marker {begin}'
    return page


if __name__ == '__main__':
    PAGE.write_text(fill(PAGE.read_text()))
