"""Draw the cells of a TIM network.

Examples:
    python tools/analysis_tools/draw_genotype.py fusion fusion.png
    python tools/analysis_tools/draw_genotype.py work_dirs/tim_demo_search/genotype.json genotype.svg
"""
import argparse

from mmfusion.utils.cpu_env import setup_cpu_env

setup_cpu_env()

from mmfusion.utils.errors import friendly_main  # noqa: E402


def parse_args(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('genotype', help='name of a genotype of the package, or path of a .json file')
    parser.add_argument('picture', help='file to write; its extension chooses the format (png, pdf, svg)')
    return parser.parse_args(argv)


@friendly_main
def main(argv=None):
    """Draw one genotype."""
    args = parse_args(argv)
    from mmfusion.models.fusers.tim import load_genotype
    from mmfusion.visualization.genotype import draw_genotype
    genotype = load_genotype(args.genotype)
    print(draw_genotype(genotype.cells, args.picture, f'{genotype.name}: {genotype.note}' if genotype.note else genotype.name))


if __name__ == '__main__':
    main()
