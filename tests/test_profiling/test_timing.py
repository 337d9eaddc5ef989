"""Timing: alternation, ratios, memory."""

import doctest
import math
import subprocess
import sys
import time

import pytest

from mmfusion.profiling import timing
from mmfusion.profiling.timing import Timing, describe_machine, measure, ratio


def test_rivals_take_turns_in_a_changing_order():
    calls = []
    result = measure({'a': lambda: calls.append('a'), 'b': lambda: calls.append('b')}, repeats=3, warmup=1)
    assert ''.join(calls) == 'ab' + 'ab' + 'abbaab'  # warm-up, memory, three rounds
    assert all(len(one.wall) == len(one.cpu) == 3 and one.gpu == [] for one in result.values())


def test_wall_and_cpu_time_are_told_apart():

    def busy():
        end = time.process_time() + 0.03
        while time.process_time() < end:
            pass

    result = measure({'sleep': lambda: time.sleep(0.03), 'busy': busy}, repeats=3, warmup=0)
    assert result['sleep'].median('wall') >= 0.03 and result['sleep'].median('cpu') < 0.015
    assert result['busy'].median('cpu') >= 0.03


def test_memory_sees_what_is_freed_again():
    # a process of its own: in this one other tests may have told the C library to keep what is freed
    code = (
        'import numpy as np\nfrom mmfusion.profiling.timing import measure\n'
        "result = measure({'small': lambda: None, 'big': lambda: np.ones(2**24).sum()}, repeats=1, warmup=0)\n"
        "print(None if result['big'].memory is None else result['big'].memory - result['small'].memory)"
    )
    more = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.split()[-1]
    if more == 'None':
        pytest.skip('the peak of the resident set cannot be reset here')
    assert int(float(more)) > 100 * 2**20  # 128 MiB


def test_statistics():
    one, other = Timing([2.0, 30.0, 4.0], [1.0] * 3, [], None), Timing([1.0, 10.0, 2.0], [2.0] * 3, [], None)
    assert ratio(one, other) == 2 and ratio(one, other, 'cpu') == 0.5 and one.median() == 4
    assert math.isnan(one.spread()) and math.isnan(one.median('gpu')) and math.isnan(ratio(one, other, 'gpu'))
    assert Timing([1.0, 2.0, 3.0, 4.0, 5.0], [], [], None).spread() == pytest.approx(0.5)


@pytest.mark.parametrize('wrong', [dict(repeats=0), dict(warmup=-1)])
def test_bad_arguments(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        measure({'a': lambda: None}, **wrong)


def test_machine_is_described():
    assert {'device', 'torch_threads', 'load_average', 'omp_wait_policy'} <= set(describe_machine())


def test_docstring_examples():
    result = doctest.testmod(timing)
    assert result.attempted and not result.failed
