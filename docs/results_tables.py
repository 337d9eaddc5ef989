"""Measured figures of the pages, from the records in docs/results.

    python docs/results_tables.py                    write the tables of all pages from their records
    python docs/results_tables.py --check            say which differ, or stand there without a record
    python docs/results_tables.py add NAME --manifest work_dirs/compare_msrs --table work_dirs/compare_msrs/table.md
    python docs/results_tables.py stated PAGE --manifest work_dirs/compare_msrs

A page has the line ``<!-- results: NAME -->`` above each table of figures, and ``docs/results/NAME.json`` holds the
table and what it was made from: entries of the run's ``manifest.json``, without the lists of files. ``add`` makes such
a record, from a table in markdown, or from the one that stands below the marker. ``stated`` records the figures in the
sentences of a page that no record has yet. Figures that were measured before there were manifests, and timings, which
have none, take ``--without-manifest REASON --command COMMAND`` instead; the commit is that of the checkout.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Tuple

REPO = Path(__file__).resolve().parents[1]
RECORDS = REPO / 'docs' / 'results'
PAGES = (
    'README.md',
    'docs/en/results.md',
    'docs/en/league.md',
    'docs/en/video.md',
    'docs/en/large_images.md',
    'docs/en/doctor.md',
    'docs/en/registration.md',
    'docs/en/export.md',
)
MARKER = re.compile(r'<!-- results: ([\w.-]+) -->')
#: Numbers with decimals, but no versions (2.13.0), names of files, or parts of words.
FIGURE = re.compile(r'(?<![\w./-])[+-]?\d+\.\d+(?![\w/]|\.\d)')
KEPT = (
    'kind',
    'made',
    'command',
    'versions',
    'code',
    'machine',
    'seeds',
    'protocol',
    'weights',
    'outputs',
    'results',
    'runs',
)
HELP = (
    'Give each table of figures the line <!-- results: NAME --> above it and a record: '
    'python docs/results_tables.py add NAME --manifest WORK_DIR '
    '(or --without-manifest REASON --command COMMAND); record figures in sentences by: '
    'python docs/results_tables.py stated PAGE, with the same options. docs/en/contributing.md explains it.'
)


class Table(NamedTuple):
    """A table of a page.

    Attributes:
        page: Path of the page in the checkout.
        name: Name in the marker above it, empty without one.
        start: Its first line, counted from 0.
        lines: Its lines.
    """

    page: str
    name: str
    start: int
    lines: List[str]


def pages() -> Dict[str, str]:
    """Text of the pages that there are."""
    return {page: (REPO / page).read_text(encoding='utf-8') for page in PAGES if (REPO / page).is_file()}


def tables(page: str, text: str) -> Iterator[Table]:
    """Tables of a page, those in blocks of code aside; a marker without a table has one without lines."""
    lines, index, fenced, name = text.splitlines(), 0, False, ''
    while index < len(lines):
        line = lines[index]
        if line.lstrip().startswith('```'):
            fenced = not fenced
        marker = MARKER.fullmatch(line.strip())
        if marker and not fenced:
            if name:
                yield Table(page, name, index, [])
            name = marker[1]
        elif line.startswith('|') and not fenced:
            end = index
            while end < len(lines) and lines[end].startswith('|'):
                end += 1
            yield Table(page, name, index, lines[index:end])
            name, index = '', end
            continue
        elif line.strip() and name:
            yield Table(page, name, index, [])
            name = ''
        index += 1
    if name:
        yield Table(page, name, index, [])


def sentences(text: str) -> Iterator[Tuple[str, str]]:
    """(heading of the section, line) of everything that is no table and no code."""
    fenced, heading = False, ''
    for line in text.splitlines():
        if line.lstrip().startswith('```'):
            fenced = not fenced
        elif not fenced and line.startswith('#'):
            heading = line.lstrip('# ')
        elif not fenced and not line.startswith(('|', '<!--')):
            yield heading, re.sub(r'`[^`]*`|\]\([^)]*\)', '', line)


def has_figures(table: Table) -> bool:
    """Whether a table states something measured."""
    return any(FIGURE.search(re.sub(r'`[^`]*`', '', line)) for line in table.lines)


def read_records() -> Dict[str, dict]:
    """Records by name."""
    return {path.stem: json.loads(path.read_text(encoding='utf-8')) for path in sorted(RECORDS.glob('*.json'))}


def to_markdown(table: dict) -> List[str]:
    """Lines of a table."""
    rows = [table['columns'], ['---'] * len(table['columns']), *table['rows']]
    return [
        '| ' + ' | '.join(row) + ' |' if index != 1 else '|' + '|'.join(row) + '|' for index, row in enumerate(rows)
    ]


def from_markdown(lines: List[str]) -> dict:
    """Reverse of :func:`to_markdown`.

    Raises:
        ValueError: A row has another number of cells than the first one.
    """
    cells = [[cell.strip() for cell in re.split(r'(?<!\\)\|', line.strip())[1:-1]] for line in lines]
    wrong = [line for line, row in zip(lines, cells) if len(row) != len(cells[0])]
    if wrong:
        raise ValueError(f'{len(cells[0])} cells are needed: {wrong[0]}')
    return dict(columns=cells[0], rows=cells[2:])


def problems() -> List[str]:
    """What is wrong with pages and records; each a sentence."""
    records, found, used = read_records(), [], set()
    for page, text in pages().items():
        for table in tables(page, text):
            where = f'{page}:{table.start + 1}'
            if not table.name:
                found += [f'{where}: the table has figures and no record'] if has_figures(table) else []
                continue
            used.add(table.name)
            record = records.get(table.name)
            if record is None or 'table' not in record:
                found.append(f'{where}: docs/results/{table.name}.json with a table is missing')
            elif to_markdown(record['table']) != table.lines:
                found.append(
                    f'{where}: the table is not that of docs/results/{table.name}.json; '
                    f'run python docs/results_tables.py'
                )
        known = {figure for record in records.values() for figure in record.get('stated', {}).get(page, ())}
        cells = {
            figure.lstrip('+-')
            for record in records.values()
            for row in record.get('table', {}).get('rows', ())
            for figure in FIGURE.findall(' '.join(row))
        }
        for heading, line in sentences(text):
            absent = [figure for figure in FIGURE.findall(line) if figure.lstrip('+-') not in cells | known]
            found += [
                f'{page}, {heading!r}: the figure {figure} has no record: {line.strip()[:80]}' for figure in absent
            ]
    for name, record in records.items():
        if 'table' in record and name not in used:
            found.append(f'docs/results/{name}.json: no page has the line <!-- results: {name} -->')
        source = record.get('manifests') or record.get('made_before_manifests') or record.get('without_manifest')
        if not source or not record.get('commit') or not (record.get('manifests') or record.get('commands')):
            found.append(
                f'docs/results/{name}.json must have manifests, or a reason why not, the commit and the commands'
            )
    return found


def write_pages() -> List[str]:
    """Put the tables of the records into the pages; return the pages that changed."""
    records, changed = read_records(), []
    for page, text in pages().items():
        lines = text.splitlines()
        for table in sorted(tables(page, text), key=lambda each: -each.start):
            if 'table' in records.get(table.name, {}):
                lines[table.start : table.start + len(table.lines)] = to_markdown(records[table.name]['table'])
        new = '\n'.join(lines) + '\n'
        if new != text:
            (REPO / page).write_text(new, encoding='utf-8')
            changed.append(page)
    return changed


def compact(entry: dict) -> dict:
    """An entry of a manifest without the resolved config and the lists of files and samples."""
    kept = {key: entry[key] for key in KEPT if key in entry}
    if 'config' in entry:
        kept['config'] = {key: entry['config'][key] for key in ('name', 'sha256')}
    if 'data' in entry:
        kept['data'] = {name: _without_lists(facts) for name, facts in entry['data'].items()}
    return kept


def _without_lists(facts):
    if isinstance(facts, list):
        return [_without_lists(part) for part in facts]
    return {key: value for key, value in facts.items() if key not in ('files', 'samples')}


def _source(args: argparse.Namespace) -> dict:
    commit = subprocess.run(
        ['git', '-C', str(REPO), 'rev-parse', 'HEAD'], capture_output=True, text=True, check=True
    ).stdout.strip()
    if args.manifest:
        entries = {}
        for folder in args.manifest:
            content = json.loads((Path(folder) / 'manifest.json').read_text(encoding='utf-8'))
            entries.update({f'{Path(folder).name}: {key}': compact(entry) for key, entry in content['entries'].items()})
        return dict(commit=commit, manifests=entries, commands=args.command)
    if not args.without_manifest or not args.command:
        sys.exit('give --manifest WORK_DIR, or --without-manifest REASON and --command COMMAND')
    return dict(commit=commit, without_manifest=args.without_manifest, commands=args.command)


def _write_record(name: str, record: dict) -> None:
    path = RECORDS / f'{name}.json'
    former = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}
    if 'stated' in former and 'stated' not in record:
        record = {**record, 'stated': former['stated']}
    RECORDS.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
    print(f'wrote {path.relative_to(REPO)}')


def add(args: argparse.Namespace) -> None:
    """Make the record of a table."""
    if args.table:
        lines = [line for line in Path(args.table).read_text(encoding='utf-8').splitlines() if line.startswith('|')]
    else:
        found = [
            table
            for page, text in pages().items()
            for table in tables(page, text)
            if table.name == args.name and table.lines
        ]
        if not found:
            sys.exit(f'no page has a table below <!-- results: {args.name} -->; put it there, or give --table FILE')
        lines = found[0].lines
    _write_record(args.name, dict(_source(args), table=from_markdown(lines)))
    write_pages()


def stated(args: argparse.Namespace) -> None:
    """Record the figures in sentences of a page that have no record yet."""
    absent = [
        re.search(r'the figure (\S+) has', text)[1]
        for text in problems()
        if text.startswith(f'{args.page}, ') and 'the figure' in text
    ]
    if not absent:
        print(f'every figure in the sentences of {args.page} has a record')
        return
    name = args.name or f'stated-{len(list(RECORDS.glob("stated-*.json"))) + 1}'
    figures = sorted({figure.lstrip('+-') for figure in absent}, key=float)
    _write_record(name, dict(_source(args), stated={args.page: figures}))


def main() -> None:
    """Write, check, or make a record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='write nothing; exit code 1 when something is wrong')
    commands = parser.add_subparsers(dest='action')
    for action, thing in (('add', 'name'), ('stated', 'page')):
        command = commands.add_parser(action)
        command.add_argument(thing, **({} if thing == 'name' else dict(choices=PAGES)))
        command.add_argument('--manifest', nargs='+', metavar='WORK_DIR')
        command.add_argument('--without-manifest', metavar='REASON')
        command.add_argument('--command', nargs='+', default=[])
        command.add_argument('--table' if action == 'add' else '--name', metavar='FILE' if action == 'add' else 'NAME')
    args = parser.parse_args()
    if args.action:
        (add if args.action == 'add' else stated)(args)
    elif args.check:
        found = problems()
        print('\n'.join([*found, HELP] if found else ['every figure has its record']))
        sys.exit(1 if found else 0)
    else:
        print(', '.join(write_pages()) or 'all pages are up to date')


if __name__ == '__main__':
    main()
