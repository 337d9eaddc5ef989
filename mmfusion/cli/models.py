"""Trained models: listing them, their cards, adding files of others, removing them."""

import argparse

from mmfusion.utils import UserError, friendly_main, setup_cpu_env


def parse_args(argv=None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description='Models that go by name: those that ship with mmfusion and those that were added'
    )
    actions = parser.add_subparsers(dest='action', required=True)
    actions.add_parser('list', help='names, sizes, terms')
    show = actions.add_parser('show', help='the whole card of a model, after a check of its weights')
    show.add_argument('name')
    add = actions.add_parser(
        'add', help='convert weights of others, or of a training of your own, and keep them by name'
    )
    add.add_argument(
        'files',
        nargs='+',
        help='official file or files (TIM has one per stage), or a checkpoint of mmfusion; nothing in it is run',
    )
    add.add_argument(
        '--as',
        dest='kind',
        required=True,
        help='what the file is: refusion (or tdfusion), moe_fusion, tim_ivif, tim_light, tim_mri_ct, '
        'tim_mri_pet, tim_mri_spect, tc_moa_base, tc_moa_large, a published fuser by the name of its converter '
        '(densefuse), or checkpoint for a training with mmfusion',
    )
    terms = add.add_mutually_exclusive_group(required=True)
    terms.add_argument('--license', metavar='TEXT', help='terms on which the weights may be used')
    terms.add_argument('--license-file', metavar='FILE', help='file with these terms')
    add.add_argument('--name', help='name of the model (default: that of the file)')
    add.add_argument('--config', help='config that a checkpoint of mmfusion was trained with')
    add.add_argument(
        '--sources',
        nargs=2,
        metavar=('FIRST', 'SECOND'),
        help='modalities in the order in which the network takes them',
    )
    add.add_argument('--summary', default='', help='one sentence for the list')
    remove = actions.add_parser('remove', help='delete a model that was added')
    remove.add_argument('name')
    return parser.parse_args(argv)


@friendly_main
def main(argv=None) -> None:
    """Run one action."""
    args = parse_args(argv)
    setup_cpu_env()  # before torch is imported
    dict(list=_list, show=_show, add=_add, remove=_remove)[args.action](args)


def _list(args: argparse.Namespace) -> None:
    from mmfusion.model_zoo.catalog import DEFAULT_MODEL, SHIPPED, list_models, user_folder

    cards, problems = list_models()
    for card in cards:
        where = 'default' if card.name == DEFAULT_MODEL else 'ships' if card.folder == SHIPPED else 'added'
        print(
            f'{card.name}  ({where}, {card.fuser["type"]}, {card.parameters:,} parameters, {card.size / 1000:.0f} kB, '
            f'{" + ".join(card.sources)})'
        )
        print(f'    {card.summary}')
        print(f'    terms: {_first_line(card.license)}')
    for name, problem in problems.items():
        print(f'{name}  DAMAGED: {problem}')
    print(f'\nadded models are kept in {user_folder()} (MMFUSION_MODELS chooses another folder)')


def _show(args: argparse.Namespace) -> None:
    from mmfusion.model_zoo import load_model
    from mmfusion.utils import register_all_modules

    register_all_modules()
    card = load_model(args.name).card
    print(card.to_json(), end='')
    print(f'{card.weights_file}: size, sha256, keys and shapes are as the card says')


def _add(args: argparse.Namespace) -> None:
    from mmfusion.utils import register_all_modules

    register_all_modules()
    from mmfusion.fileio.reading import read_text, reason
    from mmfusion.model_zoo import add_model

    license = args.license
    if license is None:
        try:
            license = read_text(args.license_file)
        except (OSError, ValueError) as error:
            raise UserError(f'the terms cannot be read from {args.license_file}: {reason(error)}') from None
    card = add_model(args.files, args.kind, license, args.name, args.config, args.sources, args.summary)
    print(
        f'added {card.name}: {card.fuser["type"]}, {card.parameters:,} parameters, {card.size / 1000:.0f} kB, '
        f'sha256 {card.sha256}'
    )
    print(f'use it: mmfusion fuse FIRST SECOND --model {card.name}')


def _remove(args: argparse.Namespace) -> None:
    from mmfusion.model_zoo import remove_model

    remove_model(args.name)
    print(f'removed {args.name}')


def _first_line(text: str) -> str:
    line, *more = text.strip().splitlines() or ['']
    return line + (' ...' if more else '')
