"""Parts of a training step add up to it."""

import re
import sys


def test_parts_of_a_step(monkeypatch, capsys, repo_dir):
    monkeypatch.syspath_prepend(str(repo_dir / 'benchmarks'))
    monkeypatch.delitem(sys.modules, 'step_parts', raising=False)
    import step_parts

    config = str(repo_dir / 'configs' / 'moe_fusion_demo.py')
    step_parts.main([config, '--shape', '64', '64', '--batch-size', '2', '--rounds', '1'])
    found = {name.strip(): float(ms) for name, ms in re.findall(r'^(\D+?) +([\d.]+) ms', capsys.readouterr().out, re.M)}
    whole = found.pop('whole step')
    assert {'guide', 'fuser', 'fusion losses', 'task networks', 'backward'} <= found.keys()
    assert all(value > 0 for value in found.values()) and 0.5 * whole < sum(found.values()) <= 1.01 * whole
