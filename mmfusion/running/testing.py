"""Testing from a config and a checkpoint."""

import argparse
from pathlib import Path
from typing import Any, Iterator, List, Sequence

from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from mmengine.evaluator import DumpResults

from mmfusion.fileio.paths import ensure_writable_dir
from mmfusion.utils import UserError, load_fusion_checkpoint, safe_load

from .checks import check_testing
from .manifests import record_test, watch_samples
from .run_config import existing_checkpoint, picture_summary, prepare_config
from .runner import build_runner
from .source_order import warn_of_exchanged_sources
from .task_checkpoint import start_from_task_checkpoint, use_task_checkpoint

_IMAGES = ('fused', 'gt_sem_seg', 'seg_logits')


class DumpPredictions(DumpResults):
    """Writes the predictions of every sample to a pickle file, without images: those are written as png."""

    def process(self, data_batch: Any, predictions: Sequence[dict]) -> None:
        """Keep the predictions of one batch, without its images."""
        super().process(
            data_batch, [{key: value for key, value in sample.items() if key not in _IMAGES} for sample in predictions]
        )


def test(args: argparse.Namespace) -> dict:
    """Test as the command line says, and print where the results lie.

    Args:
        args: Result of :func:`mmfusion.cli.arguments.parse_test_args`.

    Returns:
        dict: The metrics.

    Raises:
        UserError: The input of the command is at fault; nothing was written.
    """
    existing_checkpoint(args.checkpoint)
    check_outputs(args)
    cfg = prepare_config(args)
    if cfg.get('test_dataloader') is None or cfg.get('test_evaluator') is None:
        raise UserError(f'{args.config} has no test_dataloader and test_evaluator')
    task = use_task_checkpoint(cfg, args.checkpoint)
    cfg.resume, cfg.load_from = False, None if task else args.checkpoint
    pictures = set_picture_folder(cfg, args.show_dir)
    per_image = set_per_image(cfg, args.per_image) if args.per_image else []
    runner = build_runner(cfg)
    if not task:
        # strict check first: mmengine, which loads it again with its hooks, takes whatever part fits
        load_fusion_checkpoint(runner.model, args.checkpoint)
    check_testing(runner, runner.test_loop)
    dataset = runner.test_loop.dataloader.dataset
    warn_of_exchanged_sources(
        safe_load(args.checkpoint), getattr(dataset, 'metainfo', {}).get('modalities'), args.checkpoint
    )
    if task:
        start_from_task_checkpoint(runner.model, task, args.checkpoint)
    if args.out:
        runner.test_evaluator.metrics.append(DumpPredictions(out_file_path=args.out))
    facts = watch_samples(runner)
    metrics = runner.test()
    record_test(runner, cfg, metrics, facts, args.checkpoint, [*filter(None, [args.out]), *per_image])
    if is_main_process():
        print(
            '\n'.join(
                [
                    '',
                    'test done',
                    *(f'  {name:28s} {value:.4f}' for name, value in metrics.items() if isinstance(value, float)),
                    f'  work dir    {cfg.work_dir}',
                    *(
                        f'  {label}  {path}'
                        for label, path in (('predictions', args.out), *(('per image  ', file) for file in per_image))
                        if path
                    ),
                ]
                + (['fused images:', *lines] if (lines := picture_summary(pictures)) else [])
            ),
            flush=True,
        )
    return metrics


def check_outputs(args: argparse.Namespace) -> None:
    """Check every output path before anything runs.

    Raises:
        UserError: A wrong suffix, or a folder that cannot be written.
    """
    for option, suffixes in (('out', ('.pkl', '.pickle')), ('per_image', ('.csv',))):
        path = getattr(args, option)
        if not path:
            continue
        if not path.endswith(suffixes):
            raise UserError(f'--{option.replace("_", "-")} {path}: the name must end with {" or ".join(suffixes)}')
        ensure_writable_dir(Path(path).parent)
    if args.show_dir:
        ensure_writable_dir(args.show_dir)


def set_picture_folder(cfg: Config, show_dir: str) -> Path:
    """Let the visualization hook write into ``show_dir`` (with panels), by default where it wants to; return the
    folder.
    """
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    if show_dir:
        hook = ConfigDict(hooks.get('visualization') or dict(type='FusionVisualizationHook'))
        hook.update(out_dir=str(Path(show_dir).resolve()), images=True, panel=True)
        hooks.visualization = hook
    return Path(cfg.work_dir) / (hooks.get('visualization') or {}).get('out_dir', 'fused')


def set_per_image(cfg: Config, path: str) -> List[str]:
    """Ask the test evaluator's FusionMetric for a csv file; where each fusion task has one, for a file each,
    ``FILE_TASK.csv``.

    Returns:
        The files.

    Raises:
        UserError: The test evaluator has no FusionMetric.
    """
    file, files = Path(path).resolve(), {}
    for metric in _metrics(cfg.test_evaluator):
        task = metric.get('fusion_task')
        if str(metric.get('type')).split('.')[-1] == 'FusionMetric' and task not in files:
            files[task] = metric.out_csv = str(file.with_stem(f'{file.stem}_{task}') if task else file)
    if files:
        return list(files.values())
    raise UserError("--per-image: the config's test_evaluator has no FusionMetric; add dict(type='FusionMetric') to it")


def _metrics(evaluator: Any) -> Iterator[dict]:
    if isinstance(evaluator, (list, tuple)):
        for item in evaluator:
            yield from _metrics(item)
    elif 'metrics' in evaluator and str(evaluator.get('type', '')).endswith('Evaluator'):
        yield from _metrics(evaluator['metrics'])
    else:
        yield evaluator
