"""The command ``mmfusion``: what there is, and running one of its commands. Nothing heavy is loaded before a command
needs it.
"""

import difflib
import sys
from importlib import import_module
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from mmfusion.version import __version__


class Command(NamedTuple):
    """One command.

    Attributes:
        module: Module of :mod:`mmfusion.cli` whose ``main(argv)`` runs it.
        help: One line for the list of commands.
        arguments: First arguments of ``main``, where several commands share a module.
    """

    module: str
    help: str
    arguments: Tuple[str, ...] = ()


COMMANDS: Dict[str, Command] = {
    'fuse': Command('fuse', 'fuse two images, or two folders of images; without arguments, a demo pair'),
    'train': Command('train', 'train a fuser, alone or coupled with task networks'),
    'test': Command('test', 'test a checkpoint: task metrics, fusion metrics, fused images'),
    'search': Command('search', 'search an architecture'),
    'score': Command('score', 'score folders of fused images with fusion metrics'),
    'compare': Command('compare', 'train several ways to fuse with one task network, and compare them'),
    'verdict': Command('verdict', 'say whether fusion helps a task, and whether the data can tell'),
    'league': Command('league', 'rank fusers side by side: metrics, task networks, time, memory; tables and a page'),
    'verify': Command('verify', 'check what a result was made from, and compute a sample of it again'),
    'check-networks': Command('check_networks', 'try detectors and segmentors of mmdet and mmseg behind a fuser'),
    'downstream': Command('downstream', 'judge a fusion by a task network that is trained on its images'),
    'adapt': Command('adapt', 'measure how fast initializations learn a new fusion task'),
    'register': Command(
        'register', 'register the second image of a pair onto the first, or say that it cannot be done'
    ),
    'video': Command('video', 'fuse two streams: video files, cameras, URLs or folders of numbered images'),
    'serve': Command('serve', 'open a local page where two images can be dropped, fused and looked at'),
    'doctor': Command('doctor', 'examine a data set of pairs: wrong partners, shifts, copies, damaged files, labels'),
    'models': Command('models', 'list trained models, show their cards, add and remove some'),
    'export': Command('export', 'write a model as one ONNX file that runs without torch'),
    'run': Command('run', 'fuse with an exported file: numpy and onnxruntime, no torch'),
    'convert': Command('convert', 'convert checkpoints of the official programs'),
    'split-m3fd': Command('split_m3fd', 'make a scene-disjoint split of M3FD'),
    'benchmark': Command('benchmark', 'time a config, alone or against another'),
    'benchmark-metrics': Command('benchmark_metrics', 'time fusion metrics'),
    'flops': Command('flops', 'count operations and parameters of every part'),
    'latency': Command('latency', 'measure what every candidate of a search costs on this device'),
    'draw-genotype': Command('draw_genotype', 'draw the cells of a TIM network'),
    'configs': Command('configs', 'list the configs that ship, which go by name'),
    'info': Command('info', 'show versions, devices and what is installed, for bug reports'),
}
#: Packages without which no command but ``run`` works.
NEEDED = ('torch', 'mmengine', 'mmcv')
#: Published fusers by the names of their converters; mmfusion.models.fusers.published says how each file is converted.
PUBLISHED: Dict[str, str] = {
    'densefuse': 'DenseFuse',
    'ifcnn': 'IFCNN',
    'seafusion': 'SeAFusion',
    'tardal': 'TarDAL',
    'sage': 'SAGE',
    'lrrnet': 'LRRNet',
    'didfuse': 'DIDFuse',
    'lesefuse': 'LeSeFuse',
    'smoa': 'SMoA',
    'gifnet': 'GIFNet',
}
CONVERTERS: Dict[str, Command] = {
    'moe_fusion': Command('convert_moe_fusion', 'fusion head and two-stream detector of MoE-Fusion'),
    'tdfusion': Command('convert_tdfusion', 'fusion network of TDFusion or ReFusion'),
    'tim': Command('convert_tim', 'fusion networks of TIM, one file per stage'),
    'tc_moa': Command('convert_tc_moa', 'TC-MoA, base or large'),
    'yolox': Command('convert_yolox', "YOLOX detectors, to mmdet's layout"),
    **{
        name: Command('convert_published', f'official weights of {title}', (name,)) for name, title in PUBLISHED.items()
    },
}


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Run the command that the arguments name; without one, say what there is."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ['--version']:
        print(f'mmfusion {__version__}')
        return
    usage = (
        'mmfusion COMMAND ...\n\n`mmfusion COMMAND --help` explains one. Configs that ship go by name, '
        'from any folder: mmfusion train moe_fusion_demo'
    )
    _run('mmfusion', COMMANDS, arguments, usage)


def convert(argv: Optional[Sequence[str]] = None) -> None:
    """Run the converter that the arguments name."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _run(
        'mmfusion convert',
        CONVERTERS,
        arguments,
        'mmfusion convert METHOD ...\n\n`mmfusion convert METHOD --help` explains one.',
    )


def _run(program: str, commands: Dict[str, Command], arguments: List[str], usage: str) -> None:
    name = arguments[0] if arguments else '--help'
    if name in ('--help', '-h', 'help'):
        width = max(map(len, commands)) + 2
        print(
            '\n'.join(
                [f'usage: {usage}', '', *(f'  {name:{width}}{command.help}' for name, command in commands.items())]
            )
        )
        return
    if name not in commands:
        match = difflib.get_close_matches(name, commands, n=1)
        hint = f'did you mean {match[0]!r}?' if match else f'there are {", ".join(commands)}'
        print(f'{program}: error: unknown command {name!r}; {hint}', file=sys.stderr)
        raise SystemExit(2)
    former, sys.argv = (
        sys.argv,
        [f'{program} {name}', *arguments[1:]],
    )  # argparse and programs that look see one command
    try:
        import_module(f'mmfusion.cli.{commands[name].module}').main([*commands[name].arguments, *arguments[1:]])
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        print(
            f'{program} {name}: error: {error.name} is not installed; without it there is `mmfusion run`, '
            f'which fuses with exported files. '
            'For everything else install mmfusion with its requirements (requirements/install.sh)',
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    finally:
        sys.argv = former
