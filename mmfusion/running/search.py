"""Architecture search from a config: search, write the genotype, and train the network that it describes."""

import argparse
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.runner import Runner

from mmfusion.fileio import write_text
from mmfusion.models.fusers.tim import load_genotype
from mmfusion.utils import UserError, load_config
from mmfusion.utils.unwrap import unwrap

from .run_config import coupling_class, existing_checkpoint
from .training import train


def search(args: argparse.Namespace) -> Path:
    """Search, print the genotype found and write it to the work dir; then train another config with it if ``args.then``
    names one.

    Args:
        args: Result of :func:`mmfusion.cli.arguments.parse_search_args`.

    Returns:
        Path: The file of the genotype.

    Raises:
        UserError: The config is not one of a search, or the one to train afterwards has no fuser with a genotype.
    """
    model = load_config(args.config, args.cfg_options).get('model', {})
    if not hasattr(coupling_class(model), 'search_step'):
        raise UserError(
            f"{args.config} trains a {model.get('type')}; a search needs model = dict(type='SearchCoupling', ...)"
        )
    if args.then:
        check_then(args.then)
    runner = train(args)
    model = unwrap(runner.model)
    path = Path(runner.work_dir) / 'genotype.json'
    if is_main_process():
        model.write_architecture(runner.work_dir, runner.epoch)
        print(report(model, path), flush=True)
    if args.then and runner.epoch >= runner.max_epochs:
        retrain(args, path)
    return path


def check_then(path: str) -> None:
    """Raise a UserError unless the config has a fuser that takes a genotype."""
    if 'genotype' not in load_config(path).model.get('fuser', {}):
        raise UserError(f'--then {path}: its model.fuser has no genotype to replace')


def report(model, path: Path) -> str:
    """The genotype that was found, where it lies, and what to do with it."""
    architecture = model.fuser.architecture
    weights = architecture.probabilities().detach().max(dim=1).values.tolist()
    lines = [
        '',
        'genotype found',
        *(
            f'  {position:12s} {name:14s} weight {weight:.3f}'
            for position, name, weight in zip(architecture.positions, architecture.chosen(), weights)
        ),
    ]
    if (latency := model.latency) is not None:
        index = architecture.alpha.detach().argmax(dim=1)
        chosen = latency.gather(1, index[:, None].to(latency.device)).sum().item()
        lines.append(
            f'  latency by the table {chosen:.3f} ms, {latency.mean(1).sum().item():.3f} ms in the mean '
            f'over all candidates'
        )
    return '\n'.join([*lines, f'  written to {path}; train it with --cfg-options model.fuser.genotype={path}'])


def retrain(args: argparse.Namespace, genotype: Path) -> Runner:
    """Train the config ``args.then`` with the genotype that was found, from the beginning or from where that training
    stopped.
    """
    options = {'model.fuser.genotype': str(genotype)}
    work_dir = (
        str(Path('work_dirs') / Path(args.then).stem)
        if args.work_dir is None
        else str(Path(args.work_dir) / Path(args.then).stem)
    )
    marker = Path(work_dir) / 'searched_genotype.json'
    answer = ['auto' if is_main_process() and args.resume and _same(marker, genotype) else None]
    broadcast_object_list(answer)  # other processes wait here, and never read files that the main one is about to write
    (resume,) = answer
    then = argparse.Namespace(
        **{
            **vars(args),
            'config': args.then,
            'cfg_options': options,
            'work_dir': work_dir,
            'resume': resume,
            'then': None,
        }
    )
    if is_main_process():
        write_text(marker, genotype.read_text())
        print(f'\ntraining {args.then} with {existing_checkpoint(str(genotype))}', flush=True)
    return train(then)


def _same(marker: Path, genotype: Path) -> bool:
    """Whether a training that was begun had the cells of this genotype."""
    return marker.is_file() and load_genotype(marker).cells == load_genotype(genotype).cells
