"""A process in which torch and the packages of OpenMMLab cannot be imported."""

#: Program for ``python -c``: the command ``mmfusion`` with the arguments behind it.
WITHOUT_TORCH = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'onnx', 'scipy'):
            raise ImportError(f'{name} is not there')
sys.meta_path.insert(0, Refuse())
from mmfusion.cli.main import main
main(sys.argv[1:])
"""
