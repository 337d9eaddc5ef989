"""Files of users: reading them within bounds, writing them whole or not at all."""

from .whole import partial_files, save_torch, whole_file, write_bytes, write_csv, write_json, write_text

__all__ = ['partial_files', 'save_torch', 'whole_file', 'write_bytes', 'write_csv', 'write_json', 'write_text']
