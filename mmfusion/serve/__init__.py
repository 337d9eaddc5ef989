"""A local page for people who would rather look: two images in, the fused one out.

Importing this needs no web framework; :func:`create_app` and :func:`serve` need the packages of
``pip install mmfusion[serve]``.
"""

from .app import create_app, serve
from .settings import ServeSettings

__all__ = ['ServeSettings', 'create_app', 'serve']
