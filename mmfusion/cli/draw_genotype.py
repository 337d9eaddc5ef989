"""Draw the cells of a TIM network.

Examples:
    mmfusion draw-genotype fusion fusion.png
    mmfusion draw-genotype work_dirs/tim_demo_search/genotype.json genotype.svg
"""

import argparse

from mmfusion.utils import friendly_main, setup_cpu_env


def parse_args(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('genotype', help='name of a genotype of the package, or path of a .json file')
    parser.add_argument('picture', help='file to write; its extension chooses the format (png, pdf, svg)')
    return parser.parse_args(argv)


@friendly_main
def main(argv=None):
    """Draw one genotype."""
    setup_cpu_env()  # before torch is imported
    args = parse_args(argv)
    from mmfusion.models.fusers.tim import load_genotype
    from mmfusion.visualization.genotype import draw_genotype

    genotype = load_genotype(args.genotype)
    print(
        draw_genotype(
            genotype.cells, args.picture, f'{genotype.name}: {genotype.note}' if genotype.note else genotype.name
        )
    )
