"""Types of detection errors: small cases by hand, random ones against the slow twin."""

import numpy as np
import pytest
import tide_twin
from verdict_data import make_record

from mmfusion.experiments.verdict.error_types import TYPES, find_errors
from mmfusion.experiments.verdict.matching import match
from mmfusion.experiments.verdict.record import Boxes, Record


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('crowd', [0, 0.3])
def test_equals_the_twin(seed, crowd):
    record = make_record(seed, skill=0.55, crowd=crowd, truth_seed=seed)
    errors = find_errors(record, match(record))
    kinds, missed, gain = tide_twin.find_errors(record)
    assert [TYPES[kind] if kind >= 0 else None for kind in errors.kind] == kinds
    assert errors.missed.tolist() == missed
    assert errors.gain == pytest.approx(gain, abs=1e-12)
    assert errors.count == {name: kinds.count(name) for name in TYPES[:-1]} | dict(missed=sum(missed))


def test_the_random_cases_have_every_type():
    counts = [
        find_errors(record, match(record)).count
        for record in (make_record(seed, skill=0.55, truth_seed=seed) for seed in range(6))
    ]
    assert all(sum(count[name] for count in counts) > 0 for name in TYPES)


def one(found, truth=(([0, 0, 100, 100], 0),)):
    return Record(
        ('a',),
        np.array([[480, 640]]),
        ('person', 'car'),
        Boxes.of([(0, box, label, 0.0) for box, label in truth]),
        Boxes.of([(0, box, label, score) for box, label, score in found]),
    )


@pytest.mark.parametrize(
    'box, label, kind',
    [
        ([0, 0, 100, 40], 0, 'place'),
        ([0, 0, 100, 90], 1, 'class'),
        ([0, 0, 100, 40], 1, 'both'),
        ([300, 300, 400, 400], 0, 'background'),
    ],
)
def test_one_wrong_box(box, label, kind):
    record = one([(box, label, 0.9)])
    errors = find_errors(record, match(record))
    assert TYPES[errors.kind[0]] == kind
    # wrong place and wrong class would find the object when mended; of the other two it stays missed
    assert errors.count['missed'] == (kind in ('both', 'background'))
    assert errors.gain[kind] == pytest.approx(1.0 if kind in ('place', 'class') else 0.0)


def test_a_duplicate_costs_what_it_ranks_before():
    truth = (([0, 0, 100, 100], 0), ([200, 200, 300, 300], 0))
    record = one([([0, 0, 100, 100], 0, 0.9), ([0, 0, 100, 95], 0, 0.8), ([200, 200, 300, 300], 0, 0.7)], truth)
    errors = find_errors(record, match(record))
    assert [TYPES[kind] if kind >= 0 else None for kind in errors.kind] == [None, 'duplicate', None]
    # 51 recalls at precision 1, 50 at 2/3; all at 1 without the duplicate
    assert errors.gain['duplicate'] == pytest.approx(1 - (51 + 50 * 2 / 3) / 101)


def test_nothing_found():
    record = make_record(0, empty=True)
    errors = find_errors(record, match(record))
    assert errors.count['missed'] == (record.truth.score == 0).sum() and errors.gain['background'] == 0
