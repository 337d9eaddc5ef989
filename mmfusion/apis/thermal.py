"""Temperatures that a result keeps of its sources."""

from typing import Optional

import numpy as np

from mmfusion.thermal.window import box_facts
from mmfusion.visualization import SampleView
from mmfusion.visualization.pseudo_color import pseudo_color


def thermal_facts(item: dict, view: SampleView, meta: dict, score_thr: float) -> Optional[dict]:
    """Facts of each source with a window, ready for JSON; None without one.

    Args:
        item: What :class:`LoadPair` made of the pair.
        view: Pictures and boxes of the pair.
        meta: Meta information of the data set: ``classes``.
        score_thr: Boxes with a lower score are left out.
    """
    if 'thermal' not in item:
        return None
    classes, found = meta.get('classes') or (), {}
    for source, facts in item['thermal'].items():
        found[source] = {**facts, 'window': list(facts['window'])}
        path = item.get(f'{source}_path')
        if path:
            found[source]['file'] = str(path)
        if facts['unit'] == 'celsius':
            chosen = np.flatnonzero(np.asarray(view.scores) >= score_thr)
            inside = box_facts(item['thermal_values'][source], np.asarray(view.boxes)[chosen])
            found[source]['boxes'] = [
                dict(
                    bbox=[round(float(value), 2) for value in view.boxes[index]],
                    label=classes[view.labels[index]] if view.labels[index] < len(classes) else str(view.labels[index]),
                    score=round(float(view.scores[index]), 4),
                    temperature=temperatures,
                )
                for index, temperatures in zip(chosen, inside)
            ]
    return found


def thermal_picture(item: dict, palette: str) -> np.ndarray:
    """The (last) thermal source of a pair in false color."""
    source = list(item['thermal'])[-1]
    facts = item['thermal'][source]
    return pseudo_color(item['thermal_values'][source], facts['window'], palette, facts['unit'])
