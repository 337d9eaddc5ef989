"""yaml as data: the handler that mmengine reads configs with, without the tags that build Python objects."""

from typing import Any

from mmengine.fileio import YamlHandler

from .plain_yaml import load_yaml


class PlainYamlHandler(YamlHandler):
    """Reads yaml as :func:`~mmfusion.fileio.plain_yaml.load_yaml` does."""

    def load_from_fileobj(self, file, **kwargs) -> Any:
        """Read a file.

        Raises:
            ValueError: It is no yaml, asks for a Python object, or grows without bounds.
        """
        return load_yaml(file)
