"""Printed report of scored folders."""

import math

from ..protocols import PROTOCOLS
from ..reports.tables import to_text
from .evaluation import FusionEvaluation

MAX_FAILURES = 20


def format_report(result: FusionEvaluation, per_source: bool = False) -> str:
    """Table, files, notes, times, failures, and last how many of how many were scored."""
    lines = ['', to_text(result.summaries, per_source), '']
    lines += [f'{kind:8}  {path}' for kind, path in result.files.items()]
    lines += [f'note: {note}' for note in result.notes]
    if math.isfinite(result.milliseconds):
        lines.append(
            f'scoring takes {result.milliseconds:.1f} ms per fused image (median, without reading); '
            f'{result.images_per_second:.1f} images per second in all'
        )
    if len(result.summaries) > 1:
        compared = next(iter(result.summaries.values())).n_images
        lines.append(f'the methods are compared on the {compared} images that all of them have')
    if result.failures:
        shown = result.failures[:MAX_FAILURES]
        lines += ['not scored:', *(f'  {failure}' for failure in shown)]
        lines += [f'  and {len(result.failures) - MAX_FAILURES} more'] if len(result.failures) > MAX_FAILURES else []
    reused = f', {result.reused} of them in an earlier run' if result.reused else ''
    lines.append(f'{result.scored} of {result.total} fused images scored{reused}')
    return '\n'.join(lines)


def list_protocols() -> str:
    """All protocols with their metrics, titles, units and directions."""
    lines = []
    for protocol in PROTOCOLS.values():
        color = 'rates every color channel' if protocol.channels == 'each' else 'rates gray'
        lines.append(f'{protocol.name}: {protocol.title} ({color})')
        for name, spec in protocol.metrics.items():
            lines.append(
                f'  {name:13} {spec.title}{f" [{spec.unit}]" if spec.unit else ""}, {spec.better} is better'
                f'{"; slow: only on request" if spec.slow else ""}{f"; {spec.caution}" if spec.caution else ""}'
            )
        lines.append('')
    return '\n'.join(lines).rstrip()
