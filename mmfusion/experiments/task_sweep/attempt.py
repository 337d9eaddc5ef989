"""The attempt at one network: train and predict behind a fuser as the command does, and alone where that fails."""

import resource
import sysconfig
import traceback
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import psutil
import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmfusion.apis.runs import train
from mmfusion.datasets import DemoPairs
from mmfusion.fileio.reading import read_record
from mmfusion.models.couplings.task_labels import needed_labels
from mmfusion.models.couplings.task_network import TaskNetwork

from . import probe  # noqa: F401 - registers the hook
from .families import Family
from .own_pipeline import packed, run_alone
from .small import run_config, sizes, task_network, write_config

CONFIG_FILE, FOUND_FILE = 'config.py', 'found.json'


@RUNNERS.register_module()
class QuietRunner(Runner):
    """A runner that neither looks the machine over nor prints its config before each of a hundred trainings of one
    step.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cfg = Config()  # a hook keeps its whole text, which takes longer to make than a training step

    def _log_env(self, env_cfg: dict) -> None:
        """Nothing."""

    def dump_config(self) -> None:
        """Nothing: the config was written for this run."""


def attempt(family: Family, folder: Path) -> dict:
    """Train and predict with the network of a family behind a fuser, in ``folder``, by the code of ``mmfusion train``.

    Returns:
        dict: What was found; with ``error`` where something went wrong, and ``alone``, the error of the same network
        without fusion (None where it has none).
    """
    found_file = folder / FOUND_FILE
    found_file.unlink(missing_ok=True)
    record: dict = dict(reached='config')
    network: Optional[dict] = None
    labels: Dict[str, str] = {}
    try:
        network = task_network(family)
        record['reached'] = 'build'
        labels = labels_of(network)
        write_config(run_config(family, network, labels, found_file), folder / CONFIG_FILE)
        train(folder / CONFIG_FILE, folder / 'run', device='cpu')
    except Exception as error:  # whatever a foreign network raises is what is to be found out
        traceback.print_exc()
        record['error'] = described(error)
    if found_file.exists():
        record.update(read_record(found_file, 'run the sweep again'))
    if 'error' in record and network is not None:
        record['alone'] = error_alone(family, network, list(labels))
    return record


def labels_of(network: dict) -> Dict[str, str]:
    """What a network learns from; it is built for this."""
    task = TaskNetwork(network)
    return needed_labels(task.network, task.kind)


def error_alone(family: Family, network: dict, labels: Sequence[str]) -> Optional[dict]:
    """What goes wrong with a network that looks at the mean of both sources without a coupling, or None."""
    samples: List[dict] = []
    for seed, size in enumerate(sizes(family)):
        item = DemoPairs(length=1, size=size, seed=seed).get_data_info(0)
        image = (item['first'].astype('float32') + item['second'].astype('float32')) / 2
        samples.append(packed(item, image, family.package, labels, family.proposals))
    try:
        run_alone(network, samples, family.test_batch_size)
    except Exception as error:  # as above
        traceback.print_exc()
        return described(error)
    return None


def described(error: BaseException) -> dict:
    """Type, first line of the message, and the place of an error."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    message = (str(error).strip().splitlines() or [''])[0].replace(f'{sysconfig.get_path("purelib")}/', '')
    place = '/'.join(Path(frame.filename).parts[-3:])
    return dict(type=type(error).__name__, message=message[:300], place=f'{place}:{frame.name}')


def limit_memory(gib: float) -> None:
    """Let allocations of more GiB than these fail in this process, before they take the machine down.

    What the process holds already does not count: a fork has all that its parent set aside, and could not allocate
    anything if that is more than the limit.
    """
    size = int(gib * 2**30) + psutil.Process().memory_info().data
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    torch.set_num_threads(1)
