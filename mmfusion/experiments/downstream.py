"""The downstream protocol: fuse a whole data set once, train a task network on the pictures, and evaluate it.

The usual way to compare fusion methods by a task: every method gets a task network of its own, trained from the same
start by the same schedule on its stored pictures. Unlike joint training the network sees 8-bit files, and the fuser is
never touched.
"""

import copy
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Union

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from mmfusion.apis.build import ModelLike
from mmfusion.apis.inferencer import FusionInferencer
from mmfusion.experiments import claim, data_identity, run_identity, section_sha256
from mmfusion.fileio.paths import ensure_writable_dir
from mmfusion.fileio.reading import read_record, sha256
from mmfusion.manifest import write_manifest
from mmfusion.registry import DATASETS, build_configured
from mmfusion.utils import UserError, load_config
from mmfusion.utils.progress import progress_bar
from mmfusion.version import __version__

from .comparison import RESULT_FILE, train_and_test

PARTS = ('train', 'val', 'test')
TASK_KEYS = ('model', 'train_dataloader', 'test_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')


def innermost(dataset: dict) -> dict:
    """The config of the data set inside wrappers such as ``RepeatDataset``.

    Raises:
        UserError: It joins several sets, whose sample names may be the same.
    """
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    if 'datasets' in dataset:
        raise UserError('the downstream protocol takes one data set per part; run it for the joined sets one by one')
    return dataset


def fusion_facts(model: Union[str, Path], weights: Optional[Union[str, Path]]) -> dict:
    """What a set of fused pictures was made with: the name or config of the fuser, and the sha256 of the checkpoint and
    of the model's config.
    """
    facts = dict(
        fusion=str(model), weights=None if weights is None else str(weights), model_sha256=None, weights_sha256=None
    )
    if Path(model).is_file():
        facts['model_sha256'] = section_sha256(load_config(model), 'model')
    if weights is not None:
        facts['weights_sha256'] = sha256(weights)
    return facts


def fuse_sets(
    cfg: Config, model: ModelLike, root: Path, weights: Optional[Union[str, Path]] = None, device: Optional[str] = 'cpu'
) -> Dict[str, str]:
    """Fuse the training, validation and test set of a config and store png files; those that are there are kept.

    Args:
        cfg: Config of the task, whose data sets are fused at the size of their sources.
        model: Config file of the fusion, or the name of a fuser without parameters; see :func:`build_coupling`.
        root: Folder for ``train/NAME.png``, ``test/NAME.png``, ``fused.json``.
        weights: Checkpoint of the fusion.
        device: Where to fuse.

    Returns:
        dict: Folder of each part. Parts of the same data set share one.

    Raises:
        FileNotFoundError: The checkpoint does not exist.
        UserError: ``root`` holds pictures of another fuser or checkpoint, or what :func:`build_coupling` raises.
        PairDataError: A pair cannot be read.
    """
    root = Path(root)
    ensure_writable_dir(root)
    # where a file lies does not matter, what is in it does
    claim(
        root / 'fused.json', fusion_facts(model, weights), ignore=dict(fusion='model_sha256', weights='weights_sha256')
    )
    return fuse_parts(cfg, root, lambda: FusionInferencer(model, weights, device))


def fuse_parts(cfg: Config, root: Path, make_inferencer: Callable[[], FusionInferencer]) -> Dict[str, str]:
    """Fuse the parts of a config as :func:`fuse_sets` does, with an inferencer that is made when the first picture is
    missing.
    """
    fuse, folders, seen = None, {}, {}
    for part in PARTS:
        if cfg.get(f'{part}_dataloader') is None:
            continue
        dataset_cfg = copy.deepcopy(dict(innermost(cfg[f'{part}_dataloader'].dataset)))
        pipeline = [step for step in dataset_cfg.pop('pipeline', ()) if step['type'].split('.')[-1] == 'LoadPair'] or [
            dict(type='LoadPair')
        ]
        if part != 'train':  # the same data set, whatever the part is called
            key = repr(dataset_cfg)
            if key in seen:
                folders[part] = folders[seen[key]]
                continue
            seen[key] = part
        folders[part] = str(root / part)
        dataset_cfg.update(pipeline=pipeline[:1], test_mode=True)
        dataset = build_configured(DATASETS, dataset_cfg)
        if fuse is None:
            fuse = make_inferencer()
        fuse_set(dataset, fuse, Path(folders[part]), part)
    return folders


def fuse_set(dataset, fuse: FusionInferencer, folder: Path, name: str = '') -> int:
    """Fuse the pairs of one data set that have no picture in ``folder`` yet; return how many those were."""
    names = [dataset.get_data_info(index)['sample_id'] for index in range(len(dataset))]
    todo = [index for index, sample in enumerate(names) if not (folder / f'{sample}.png').exists()]
    print_log(f'fusing {name}: {len(todo)} of {len(names)} pairs, the others are there', 'current')
    with progress_bar(len(todo), f'fusing {name}'.strip()) as bar:
        for index in todo:
            item = dataset[index]  # sources as arrays, BGR or gray
            fuse(
                item['first'],
                item['second'],
                out_dir=folder / f'{names[index]}.png',
                channel_order='bgr',
                progress=False,
            )
            bar.update()
    return len(todo)


def downstream_config(base: Config, folders: Dict[str, str], seed: int, work_dir: Path) -> Config:
    """Config that trains the task networks of ``base`` on fused pictures, with the data sets, labels and schedule of
    ``base``.

    Args:
        base: Config with task networks; its fuser, guide and fusion losses are left out.
        folders: Folders of :func:`fuse_sets`.
        seed: Seed of the run.
        work_dir: Folder of the run.

    Raises:
        UserError: ``base`` has no task networks, or a pipeline without ``LoadPair``.
    """
    cfg = copy.deepcopy(base)
    if not cfg.model.get('tasks'):
        raise UserError(
            'the task config has no task networks in model.tasks; give a config such as configs/downstream_msrs_seg.py'
        )
    kept = {key: cfg.model[key] for key in ('tasks', 'task_weights', 'data_preprocessor') if cfg.model.get(key)}
    cfg.model = ConfigDict(type='JointCoupling', fuser=dict(type='SourceFuser', source='first'), **kept)
    for part, folder in folders.items():
        cfg[f'{part}_dataloader'] = copy.deepcopy(cfg[f'{part}_dataloader'])  # val and test may be one object
        dataset = innermost(cfg[f'{part}_dataloader'].dataset)
        steps = [
            dict(type='LoadFused', folder=str(folder)) if step['type'].split('.')[-1] == 'LoadPair' else step
            for step in dataset.pipeline
        ]
        if all(step['type'] != 'LoadFused' for step in steps):
            raise UserError(
                f'the pipeline of {part}_dataloader has no LoadPair whose place the fused pictures could take'
            )
        dataset.pipeline = steps
    for part in ('val', 'test'):
        evaluator = cfg.get(f'{part}_evaluator')
        if isinstance(evaluator, (list, tuple)):  # a fused picture has nothing to be compared with here
            cfg[f'{part}_evaluator'] = [metric for metric in evaluator if metric['type'] != 'FusionMetric']
    cfg.randomness = dict(seed=seed)
    cfg.work_dir = str(work_dir)
    return cfg


def run_downstream(
    base: Config,
    model: ModelLike,
    seeds: Sequence[int],
    root: Path,
    weights: Optional[Union[str, Path]] = None,
    device: Optional[str] = 'cpu',
    minutes: Optional[float] = None,
    name: str = '',
) -> List[dict]:
    """Fuse, train and evaluate; what is finished is kept, what is not is gone on with.

    Args:
        base: Config of the task.
        model: Fusion, as in :func:`fuse_sets`.
        seeds: One run of the task network each.
        root: Folder of everything: ``fused/``, and per seed ``seed0/`` with ``config.py``, the checkpoint and
            ``result.json``.
        weights: Checkpoint of the fusion.
        device: Where to fuse; training takes the device that mmengine chose.
        minutes: Budget of each training; the run stops at the next end of an epoch.
        name: Name of the fusion in the results, by default that of the config or fuser.

    Returns:
        list[dict]: The results that are complete: ``variant`` (the name), ``seed``, ``epochs``, ``metrics``, and what
        it takes to reproduce them: fusion, checkpoint and their sha256, number of pictures and split hash of each part,
        versions.

    Raises:
        UserError: See :func:`fuse_sets` and :func:`downstream_config`; or a result in ``root`` comes from another task
            config.
    """
    root = Path(root)
    if not base.model.get('tasks'):
        downstream_config(base, {}, 0, root)  # raises before an hour of fusing
    folders = fuse_sets(base, model, root / 'fused', weights, device)
    results, data = [], None
    for seed in seeds:
        cfg = downstream_config(base, folders, seed, root / f'seed{seed}')
        data = data_identity(cfg) if data is None else data
        ensure_writable_dir(cfg.work_dir)
        claim(
            Path(cfg.work_dir) / 'task.json',
            dict(task_sha256=section_sha256(cfg, *TASK_KEYS), **run_identity(cfg, data)),
        )
        result_file = Path(cfg.work_dir) / RESULT_FILE
        if result_file.exists():
            results.append(read_record(result_file, 'delete it to make this run again'))
            continue
        cfg.dump(str(Path(cfg.work_dir) / 'config.py'))
        facts = dict(
            variant=name or Path(str(model)).stem,
            seed=seed,
            **fusion_facts(model, weights),
            task_config=str(base.filename),
            data={part: _describe(cfg, part, folder) for part, folder in folders.items()},
            versions=_versions(),
        )
        result = train_and_test(cfg, f'downstream_{seed}', facts, minutes)
        if result is None:
            print_log(f'seed {seed}: not finished within {minutes} minutes, call again to go on', 'current')
        else:
            results.append(result)
    if results:
        runs = [f'seed{result["seed"]}' for result in results]
        write_manifest(
            root,
            'downstream',
            config=base,
            data={f'fused/{Path(folder).name}': folder for folder in folders.values()},
            weights=dict(fusion=weights) if weights is not None else None,
            seeds=list(seeds),
            runs=runs,
            fusion=str(model),
            results={run: result['metrics'] for run, result in zip(runs, results)},
        )
    return results


def _describe(cfg: Config, part: str, folder: str) -> dict:
    dataset = build_configured(DATASETS, dict(innermost(cfg[f'{part}_dataloader'].dataset), pipeline=[]))
    return dict(folder=folder, pairs=len(dataset), split_hash=dataset.metainfo.get('split_hash'))


def _versions() -> Dict[str, str]:
    import mmdet
    import mmengine
    import mmseg
    import torch

    return dict(
        mmfusion=__version__,
        torch=torch.__version__,
        mmengine=mmengine.__version__,
        mmdet=mmdet.__version__,
        mmseg=mmseg.__version__,
    )
