#!/usr/bin/env python
"""Everything that wants to be looked at on a GPU, in pieces of less than ten minutes that leave json files.

    python benchmarks/gpu.py                          all pieces that are not done yet, then the table (or: make \
        gpu-check)
    python benchmarks/gpu.py train-moe_fusion_llvip-fp16 metrics
    python benchmarks/gpu.py --list
    python benchmarks/gpu.py --device cpu --quick     the script itself, as far as a CPU goes; its figures mean nothing

Each piece runs in a process of its own and writes OUT/PIECE.json; with the same command again, pieces that ended well
are kept and the others run.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ('.', 'benchmarks', 'tests/helpers')]

from mmfusion.utils import UserError, friendly_main, setup_cpu_env  # noqa: E402


def parse_args(argv=None):
    """Options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('pieces', nargs='*', help='names of pieces (default: all)')
    parser.add_argument(
        '--out', default='work_dirs/gpu_check', help='folder of the json files (default: work_dirs/gpu_check)'
    )
    parser.add_argument('--device', default='cuda', help="'cuda' (default), 'cuda:1', or 'cpu' with --quick")
    parser.add_argument('--steps', type=int, default=100, help='training steps that are timed (default: 100)')
    parser.add_argument(
        '--limit',
        type=int,
        default=540,
        help='seconds for a piece; it is ended and noted as failed after that (default: 540)',
    )
    parser.add_argument('--again', action='store_true', help='run pieces again that ended well')
    parser.add_argument('--quick', action='store_true', help='smallest shapes, to test the script')
    parser.add_argument('--list', action='store_true', help='print the names of the pieces')
    parser.add_argument('--worker', action='store_true', help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def run_piece(name, args):
    """Run one piece in this process and write its file."""
    import torch
    from gpu_pieces import Options, all_pieces

    from mmfusion.fileio import write_json
    from mmfusion.profiling.timing import describe_machine

    result = all_pieces()[name](Options(args.device, args.steps, 0.6 * args.limit, args.quick))
    write_json(
        Path(args.out) / f'{name}.json',
        dict(
            piece=name,
            settings=settings(args),
            machine=describe_machine(args.device),
            cuda=torch.version.cuda,
            result=result,
        ),
    )


def settings(args):
    """What results must share to stand in one table."""
    return dict(device=args.device, steps=args.steps, quick=args.quick)


def finished(path, args):
    """Content of a piece's file that ended well under the same settings, else None."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
    except ValueError:
        return None  # no whole file
    return content if content.get('settings') == settings(args) and 'error' not in content else None


def flat(values, prefix=''):
    """Numbers and remarks of a nested result, by their path."""
    for key, value in values.items():
        if isinstance(value, dict) and key not in ('differences', 'synchronizations'):
            yield from flat(value, f'{prefix}{key}.')
        elif key == 'synchronizations':
            yield f'{prefix}{key}', f'{sum(value.values()):g} a step at {len(value)} places'
        elif isinstance(value, float):
            yield f'{prefix}{key}', f'{value:.4g}'
        elif isinstance(value, (int, str, bool)):
            yield f'{prefix}{key}', str(value)


@friendly_main
def main(argv=None):
    """Run the pieces, print the table; exit code 1 where one failed."""
    setup_cpu_env()
    args = parse_args(argv)
    from mmfusion.utils import register_all_modules

    register_all_modules()
    if args.worker:
        return run_piece(args.pieces[0], args)
    import torch
    from gpu_pieces import all_pieces

    from mmfusion.fileio import write_json

    known = list(all_pieces())
    if args.list:
        print('\n'.join(known))
        return None
    unknown = sorted(set(args.pieces) - set(known))
    if unknown:
        raise UserError(f'no piece {", ".join(unknown)}; there are {", ".join(known)}')
    if args.device == 'cpu' and not args.quick:
        raise UserError('on a CPU only the script can be tested: add --quick')
    if args.device.startswith('cuda') and not torch.cuda.is_available():
        raise UserError('torch finds no CUDA device; --device cpu --quick tests the script without one')
    out, failed = Path(args.out), []
    out.mkdir(parents=True, exist_ok=True)
    for name in args.pieces or known:
        path = out / f'{name}.json'
        content = None if args.again else finished(path, args)
        if content is None:
            content = run_in_process(name, path, args)
        if 'error' in content:
            write_json(path, content)
            failed.append(name)
            print(f'{name}: FAILED\n  ' + '\n  '.join(content['error'].splitlines()[-12:]), flush=True)
        else:
            print(f'{name}: ' + ', '.join(f'{key} {value}' for key, value in flat(content['result'])), flush=True)
    print(
        f'{len(args.pieces or known) - len(failed)} pieces in {out}'
        + (f', failed: {", ".join(failed)}' if failed else '')
    )
    return sys.exit(1) if failed else None


def run_in_process(name, path, args):
    """Run a piece in a process of its own; the content of its file, or what went wrong."""
    path.unlink(missing_ok=True)
    command = [
        sys.executable,
        __file__,
        name,
        '--worker',
        '--out',
        args.out,
        '--device',
        args.device,
        '--steps',
        str(args.steps),
        '--limit',
        str(args.limit),
        *(['--quick'] if args.quick else []),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=args.limit, check=False)
        error = done.stderr or f'exit code {done.returncode}'
    except subprocess.TimeoutExpired:
        error = f'not done after {args.limit} s'
    return finished(path, args) or dict(piece=name, settings=settings(args), error=error[-6000:])


if __name__ == '__main__':
    main()
