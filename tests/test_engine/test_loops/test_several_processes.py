"""Two processes with half of the data each train as one process does, or say before training why not."""

import pytest
import torch
from mmengine.model import BaseModel
from tiny_sweep import CASES, couplings, loops, run
from two_processes import in_two_processes

from mmfusion.utils import register_all_modules

register_all_modules()
COMBINATIONS = [
    (coupling, case, loop)
    for coupling in sorted(couplings())
    for case in CASES.get(coupling, ('?',))
    for loop in sorted(loops())
]


@pytest.fixture(scope='module')
def results(tmp_path_factory):
    """States or messages of all combinations, from one process and from each of two."""
    folder = tmp_path_factory.mktemp('sweep')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('SWEEP_FOLDER', str(folder))
        return run(0, 1), in_two_processes(run, folder)


@pytest.mark.parametrize(('coupling', 'case', 'loop'), COMBINATIONS)
def test_two_processes_equal_one_or_are_refused(results, coupling, case, loop):
    assert coupling in CASES, (
        f'{coupling} is registered: add a small model of it to CASES in tests/helpers/tiny_sweep.py'
    )
    key = f'{coupling} {case} {loop}'
    single, (first, second) = results[0][key], (result[key] for result in results[1])
    cls = couplings()[coupling]
    if isinstance(first, str):
        assert first == second and any(word in first for word in ('type=', 'needs', 'give ')), (
            'a refusal names the remedy'
        )
        assert loop != cls.loop, 'the loop that a coupling names is not refused'
        assert cls.loop is not None or hasattr(loops()[loop], 'step') and loop != 'CouplingTrainLoop', (
            'a coupling without a loop of its own takes any'
        )
        return
    for name, wanted in single[0].items():
        assert torch.equal(first[0][name], second[0][name]), name
        torch.testing.assert_close(
            first[0][name], wanted, atol=1e-6, rtol=0, msg=lambda message, name=name: f'{name}: {message}'
        )


@pytest.mark.parametrize('coupling', sorted(couplings()))
def test_all_that_learns_has_learned(results, coupling):
    """The test above can fail: in one process each part has moved by a hundred times its tolerance."""
    cls = couplings()[coupling]
    assert cls.averages_gradients == (cls.train_step is not BaseModel.train_step)
    for case, (model, _) in CASES[coupling].items():
        trained = {loop: results[0][f'{coupling} {case} {loop}'] for loop in loops()}
        moved = {loop: set(result[1]) for loop, result in trained.items() if not isinstance(result, str)}
        assert (cls.loop or 'EpochBasedTrainLoop') in moved
        for loop, parts in moved.items():
            learns = {*model.get('tasks', ()), *({'fuser', 'loss_generator'} & set(model))}
            assert parts == learns, loop
