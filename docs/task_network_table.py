"""Write docs/en/task_network_table.md from the recorded sweep, ``python docs/task_network_table.py``.

With the file of a new sweep, ``python docs/task_network_table.py work_dirs/task_networks/task_networks.jsonl``, that is
recorded first: what it holds replaces what was recorded. A test compares page, record and the list of families.
"""

import json
import sys
from pathlib import Path
from typing import Dict, List

from mmfusion.experiments.task_sweep import FAMILIES, read_results
from mmfusion.experiments.task_sweep.page import (
    in_order,
    networks_table,
    outside_table,
    packages,
    summary,
    untried,
    upstream_table,
)

HERE = Path(__file__).resolve().parent
RECORD, PAGE = HERE / 'task_networks.jsonl', HERE / 'en' / 'task_network_table.md'

TEXT = """# Networks of mmdet and mmseg behind a fuser

Written by `python docs/task_network_table.py` from a recorded sweep with
{packages}.

{summary}

Each network was built from the config named, with few classes, without pretrained weights, and coupled with a small
fuser that learns (`JointCoupling`, [How a coupling works](coupling.md)): one step of `mmfusion train` on two small
pictures of different size from `DemoPairs`, and one prediction. A network works when

- the step and the prediction end without an error, and predictions are finite and as large as their pictures;
- the fuser gets a finite gradient other than zero, from the network's loss alone;
- the network sees exactly what its own pipeline would feed it. The tensor that arrives at the network and at its
  backbone, in training and in test, equals what the network's own `data_preprocessor` makes of the same fused pictures
  loaded as an image file would be: color order, mean and standard deviation, padding, size divisor, batch augmentation
  (largest difference over all networks: {difference} of the range). Boxes, labels, masks, class maps, edge maps and
  shapes equal those that the transforms of mmdet or mmseg make of the same annotations;
- its predictions are those that it makes alone on that input.

What fails is tried once more without fusion; *fails upstream* means that the network alone ends in the same error.

```shell
mmfusion check-networks --work-dir work_dirs/task_networks
mmfusion check-networks 'Faster R-CNN' my_detector.py --work-dir work_dirs/mine
```

The first line tries all of them, the second some by name, or a config of your own. Each runs in a process of its own
with a limit of time and memory; `config.py` and `log.txt` in its folder say what was run and what it said. Labels other
than boxes and class maps: see
[Labels beyond boxes and class maps](task_networks.md#labels-beyond-boxes-and-class-maps).

## Detectors

{detectors}

## Segmentors

{segmentors}

## What fails upstream

{upstream}

## Not tried yet

Families of the list without a recorded result; the first command above tries them.

{untried}

## What is not here

{outside}
"""


def page(rows: List[dict]) -> str:
    """Text of the page.

    Args:
        rows: Results in the order of the families.
    """
    largest = max(row[part]['input_difference'] for row in rows for part in ('train', 'predict') if 'error' not in row)
    return TEXT.format(
        packages=packages(rows),
        summary=summary(rows),
        difference=f'{largest:.0e}' if largest else '0',
        detectors='\n'.join(networks_table(row for row in rows if row['package'] == 'mmdet')),
        segmentors='\n'.join(networks_table(row for row in rows if row['package'] == 'mmseg')),
        upstream='\n'.join(upstream_table(rows)),
        untried=untried(rows),
        outside='\n'.join(outside_table()),
    )


def record(results: Dict[str, dict]) -> None:
    """Keep the results of the families, a line each."""
    RECORD.write_text(''.join(json.dumps(results[name]) + '\n' for name in FAMILIES if name in results))


if __name__ == '__main__':
    if len(sys.argv) > 1:
        record({**read_results(RECORD), **read_results(Path(sys.argv[1]))})
    PAGE.write_text(page(in_order(read_results(RECORD))))
    print(f'wrote {PAGE}')
