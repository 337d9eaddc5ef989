"""Compare published fusers with recorded outputs of the official programs, for the table of
docs/en/published_fusers.md.

    python benchmarks/published_parity.py FOLDER

A file NAME.pt of the folder holds `state_dict` (official weights by their official keys), `inputs` (pairs by the names
`visible` and `infrared`, as the official program takes them) and `outputs` (before anything is done to the picture).
The names are those of tests/helpers/published_files.py.
"""

import argparse
import sys
from pathlib import Path

from mmfusion.utils import setup_cpu_env

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tests' / 'helpers'))
ENOUGH = 1e-5
BUFFERS = ('running_', 'num_batches_tracked', 'relative_positions')  # what official files hold beside parameters


def parse_args():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='folder of recordings')
    return parser.parse_args()


def main():
    """Print one line for each recording."""
    setup_cpu_env()  # before torch is imported
    args = parse_args()
    import torch
    from published_files import RECORDED, read_recording

    from mmfusion.models.fusers.published import PUBLISHED, convert_state
    from mmfusion.registry import MODELS
    from mmfusion.utils import register_all_modules

    register_all_modules()
    print(f'{"recording":15} {"parameters":>10} {"in the file":>11} {"difference":>10}  pixels above {ENOUGH:g}')
    for name in [name for name in RECORDED if (args.folder / f'{name}.pt').is_file()]:
        recorded, pairs = read_recording(args.folder / f'{name}.pt')
        method, state = RECORDED[name].method, recorded['state_dict']
        fuser = MODELS.build({**PUBLISHED[method].fuser(state), **RECORDED[name].arguments}).eval()
        fuser.load_state_dict(convert_state(method, state))
        with torch.no_grad():
            differences = torch.cat(
                [
                    (fuser(*pair).fused - output / RECORDED[name].scale).abs().flatten()
                    for pair, output in zip(pairs, recorded['outputs'])
                ]
            )
        learned = sum(value.numel() for key, value in state.items() if not any(buffer in key for buffer in BUFFERS))
        print(
            f'{name:15} {sum(p.numel() for p in fuser.parameters()):10} {learned:11} {differences.max().item():10.1e}  '
            f'{(differences > ENOUGH).sum().item()} of {differences.numel()}',
            flush=True,
        )


if __name__ == '__main__':
    main()
