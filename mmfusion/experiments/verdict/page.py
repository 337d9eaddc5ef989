"""HTML page of a verdict in one file: no scripts, nothing loaded from elsewhere, light and dark."""

from html import escape
from pathlib import Path
from typing import List, Mapping, Sequence

from mmfusion.evaluation.reports.web_page import page_figure, page_table, web_page
from mmfusion.fileio import write_text

from .error_types import TYPES
from .figures import draw_curves, draw_differences, draw_errors, draw_values
from .page_examples import examples
from .record import PICTURE_VALUES
from .report import Report
from .resampling import Comparison, Interval, spread
from .rows import ROWS
from .tasks import TaskReport

_STYLE = """
tr.best td, tr.best th { font-weight: 700; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: .6rem; }
.pair svg { width: 100%; display: block; }
.pair figure { margin: 0; }
"""


def write_page(report: Report, path: Path, root: Path, plan: Mapping, missing: Sequence[str] = ()) -> None:
    """Write the page, whole or not at all.

    Args:
        report: The verdict.
        path: File to write.
        root: Folder of the cells, whose pictures are shown.
        plan: What the folder says of itself; see :func:`~mmfusion.experiments.verdict.cells.claim`.
        missing: Cells that are not complete.
    """
    titles = {name: facts.title for name, facts in report.rows.items()}
    parts = [
        f'<h1>Does fusion help? {escape(Path(plan.get("config") or "").stem)}</h1>',
        f'<p class="answer">{escape(report.sentence)}</p>',
    ]
    parts += [f'<p>{escape(sentence)}</p>' for sentence in report.sentences[1:]]
    parts += [
        f'<p class="note">{escape(note)}</p>' for note in [*_negatives(report), *report.notes, *_missing_note(missing)]
    ]
    for task in report.tasks:
        parts += _task(report, task, titles)
    parts += _pictures(report, titles, plan)
    parts += examples(report, titles, Path(root), plan)
    parts += _method(report, plan)
    write_text(path, web_page('Verdict on fusion', parts, _STYLE))


def _missing_note(missing: Sequence[str]) -> List[str]:
    return (
        [
            f'Not the last word: {len(missing)} trainings are missing '
            f'({", ".join(missing[:6])}{", ..." if len(missing) > 6 else ""}). The command goes on with them when it'
            ' is repeated.'
        ]
        if missing
        else []
    )


def _negatives(report: Report) -> List[str]:
    return [
        f'The pictures of {report.rows[name].title} look like a negative: {cost.negative:.0%} of them run against both'
        ' sources. What serves the network is not what a person wants to see.'
        for name, cost in report.pictures.items()
        if cost.is_negative
    ]


def _task(report: Report, task: TaskReport, titles: Mapping[str, str]) -> List[str]:
    parts = [
        f'<h2>{task.task.capitalize()}</h2>',
        page_figure(draw_values(task, titles), ''),
        _values(report, task, titles),
    ]
    for setting, judgment in task.judgments.items():
        if judgment.single is not None and len(task.study.rows) > 1:
            rivals = [
                pair.seen_from(name)
                for name in task.study.rows
                for pair in task.comparisons
                if {pair.a, pair.b} == {name, judgment.single}
                and name != judgment.single
                and report.rows[name].untouched == (setting == 'untouched')
            ]
            if rivals:
                parts += [
                    f'<h3>Against {escape(titles[judgment.single])}, the better source alone</h3>',
                    page_figure(
                        draw_differences(rivals, titles, task.metric, judgment.single, f'{task.task}-{setting}'),
                        'Thick lines: 95 % interval of the pair alone. Thin ones: of all pairs at once. A filled dot:'
                        ' the data can tell the two apart.',
                    ),
                ]
    if task.comparisons:
        parts += ['<h3>Every pair</h3>', _pairs(task, titles)]
    for kind, caption in (
        ('time', 'Parts of the test set'),
        ('size', 'Size of the objects (COCO: below 32 x 32, up to 96 x 96, above)'),
        ('class', 'Classes'),
    ):
        if task.groups.get(kind):
            parts += [f'<h3>{caption.split(" (")[0]}</h3>', _groups(task, kind, caption, titles)]
    if task.gains:
        parts += ['<h3>Types of errors</h3>', page_figure(draw_errors(task, titles), _errors_caption())]
    if task.curves:
        parts += ['<h3>Precision over recall</h3>', page_figure(draw_curves(task, titles), 'At an overlap of 0.5.')]
    return parts


def _errors_caption() -> str:
    return (
        'What AP50 would gain if all errors of one type were fixed (TIDE): wrong class, wrong place, both, a second'
        ' box on one object, a box on nothing, an object missed.'
    )


def _values(report: Report, task: TaskReport, titles: Mapping[str, str]) -> str:
    known = {name: task.study.interval(name).value for name in task.study.rows}
    best = max((value for value in known.values() if value == value), default=None)
    rows = []
    for name, sampled in task.study.rows.items():
        own = spread(sampled)
        cells = [
            escape(titles[name]),
            str(len(sampled.values)) if sampled.trained else 'none trained',
            '-' if own is None else f'{own:.3f}',
        ]
        cells += [_interval(table[name]) for table in task.metrics.values()]
        rows.append((cells, known[name] == best))
    return page_table(
        ['row', 'seeds', f'spread of {task.metric}', *task.metrics],
        rows,
        'Mean over seeds with its 95 % interval; spread is the standard deviation over seeds; the best mean is bold.',
    )


def _pairs(task: TaskReport, titles: Mapping[str, str]) -> str:
    names = list(task.study.rows)
    rows = []
    for a in names:
        cells = [escape(titles[a])]
        for b in names:
            pair = (
                next((pair.seen_from(a) for pair in task.comparisons if {pair.a, pair.b} == {a, b}), None)
                if a != b
                else None
            )
            cells.append('' if pair is None else _pair(pair))
        rows.append((cells, False))
    return page_table(
        ['row minus column', *(escape(titles[name]) for name in names)],
        rows,
        '▲ better, ▼ worse, ≈ the data cannot tell, with all pairs taken into account; in brackets the 95 % interval of'
        ' the pair alone.',
    )


def _pair(pair: Comparison) -> str:
    sign = '≈' if not pair.different else '▲' if pair.difference.value > 0 else '▼'
    return (
        f'{sign} {pair.difference.value:+.3f}<br><span class="soft">[{pair.difference.low:+.3f},'
        f' {pair.difference.high:+.3f}]</span>'
    )


def _groups(task: TaskReport, kind: str, caption: str, titles: Mapping[str, str]) -> str:
    groups = task.groups[kind]
    best = {
        group: max((each.value for each in row.values() if each.value == each.value), default=None)
        for group, row in groups.items()
    }
    rows = []
    for name in task.study.rows:
        cells = [escape(titles[name])]
        for group, row in groups.items():
            text = _interval(row[name])
            cells.append(f'<b>{text}</b>' if row[name].value == best[group] else text)
        rows.append((cells, False))
    return page_table(
        ['row', *(escape(group) for group in groups)],
        rows,
        f'{caption}: {task.metric}, the best of each column is bold.',
    )


def _interval(interval: Interval) -> str:
    if interval.value != interval.value:
        return '-'
    return f'{interval.value:.3f} <span class="soft">[{interval.low:.3f}, {interval.high:.3f}]</span>'


def _pictures(report: Report, titles: Mapping[str, str], plan: Mapping) -> List[str]:
    if not report.pictures:
        return []
    first, second = (
        [*plan.get('modalities', ()), 'first', 'second'][:2] if plan.get('modalities') else ('first', 'second')
    )
    heads = dict(zip(PICTURE_VALUES, ('SSIM', 'Qabf', 'VIF', f'correlation with {first}', f'with {second}')))
    rows = []
    for name in report.rows:
        cost = report.pictures.get(name)
        if cost is None:
            rows.append(([escape(titles[name]), *['-'] * len(heads), 'makes no picture'], False))
            continue
        remark = (
            f'looks like a negative ({cost.negative:.0%} of the pictures)'
            if cost.is_negative
            else (f'{cost.negative:.0%} of the pictures run against both sources' if cost.negative else '')
        )
        rows.append(
            (
                [
                    escape(titles[name]),
                    *(f'{cost.values[key]:.3f}' if cost.values[key] == cost.values[key] else '-' for key in heads),
                    remark,
                ],
                False,
            )
        )
    return [
        '<h2>What the picture costs</h2>',
        page_table(
            ['row', *heads.values(), 'to the eye'],
            rows,
            'Means over the test set, by the default protocol; higher is closer to the sources. A picture is a negative'
            ' where its luminance falls as that of both sources rises.',
        ),
    ]


def _method(report: Report, plan: Mapping) -> List[str]:
    budget = ', '.join(
        f'{value} {key.removeprefix("max_")}' if key.startswith('max_') else f'{key.replace("_", " ")} {value}'
        for key, value in (plan.get('budget') or {}).items()
        if value is not None
    )
    facts = {
        'Config': (
            f'{plan.get("config") or "-"} ({plan.get("coupling")} of {plan.get("fuser")}; tasks: '
            f'{", ".join(f"{name} {kind}" for name, kind in (plan.get("tasks") or {}).items())})'
        ),
        'Data': f'{plan.get("data")}, {report.images} test images',
        'Budget': f'{budget or "-"}, the same for every row that trains',
        'Rows': '; '.join(f'{facts.title}: {ROWS[name].about}' for name, facts in report.rows.items() if name in ROWS),
        'Intervals': (
            f'{report.resamples} resamplings of images, the same for all rows, and of seeds. '
            f'The spread of the seeds of a'
            ' row is the larger of its own and of the mean over all rows. The percentile interval is '
            'about the value and'
            " expanded by the ratio of Student's to the normal quantile at Satterthwaite's degrees of freedom. Seeds of"
            ' different rows are taken as independent.'
        ),
        'Different': (
            'An adjusted probability of at most 5 %: of rows that do not differ, a table like this calls any pair'
            ' different in at most one case of twenty (step-down resampling after Romano and Wolf over all pairs).'
        ),
        'Matching': (
            'pycocotools, at most 100 detections per image and class. Types of errors as TIDE defines them ('
            + ', '.join(TYPES)
            + ').'
        ),
        'Program': f'mmfusion {plan.get("version", "")}',
    }
    return [
        '<h2>How this was made</h2><dl>',
        *(f'<dt>{escape(key)}</dt><dd>{escape(value)}</dd>' for key, value in facts.items()),
        '</dl>',
    ]
