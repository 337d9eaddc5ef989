"""Metrics with saliency and models of human vision."""
from typing import Dict

from .spec import MetricSpec

ENTRIES: Dict[str, Dict[str, MetricSpec]] = {}
