"""Manifests of results: what a number was made from, so that it can be checked later."""

from .content import FORMAT, MANIFEST_FILE, PLACES_FILE, read_manifest, write_manifest
from .data import FileSet, describe_dataset, describe_files
from .facts import versions
from .places import Places

__all__ = [
    'FORMAT',
    'FileSet',
    'MANIFEST_FILE',
    'PLACES_FILE',
    'Places',
    'describe_dataset',
    'describe_files',
    'read_manifest',
    'versions',
    'write_manifest',
]
