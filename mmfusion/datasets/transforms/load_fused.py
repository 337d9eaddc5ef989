"""Loading pictures that were fused before, in the place of their sources."""

import os

from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.image_reading import read_image
from mmfusion.registry import TRANSFORMS

from .load_pair import LoadPair


@TRANSFORMS.register_module()
class LoadFused(LoadPair):
    """Load ``FOLDER/SAMPLE_ID.png`` as both sources, so that a fuser that passes one source on hands a task network the
    stored picture.

    Labels and all else of a sample stay those of the data set. It stands where ``LoadPair`` stood.

    Args:
        folder: Folder of fused pictures, named after ``sample_id``.
        color_type: As in :class:`LoadPair`.

    Required keys: ``sample_id``; ``height`` and ``width``, if there, are compared with the picture.

    Added keys: ``first``, ``second``, ``img_shape``, ``ori_shape`` (H, W).

    Raises:
        PairDataError: There is no such picture, it cannot be read, or it has not the size of the sources.
    """

    def __init__(self, folder: str, color_type: str = 'color') -> None:
        super().__init__(color_type=color_type)
        self.folder = folder

    def transform(self, results: dict) -> dict:
        """Load the picture."""
        path = os.path.join(self.folder, f'{results["sample_id"]}.png')
        if not os.path.isfile(path):
            raise PairDataError(
                'missing image', f'no fused picture {path}; run mmfusion downstream again to fuse the set'
            )
        results['first'] = results['second'] = read_image(path)
        results['first_path'] = results['second_path'] = path
        results = super().transform(results)
        wanted = (results.get('height', results['ori_shape'][0]), results.get('width', results['ori_shape'][1]))
        if tuple(results['ori_shape']) != wanted:
            raise PairDataError(
                'size mismatch',
                f'{path} has {results["ori_shape"][1]}x{results["ori_shape"][0]} pixels, its sources have '
                f'{wanted[1]}x{wanted[0]}; fuse at the size of the sources',
            )
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(folder={self.folder!r}, color_type={self.color_type["first"]!r})'
