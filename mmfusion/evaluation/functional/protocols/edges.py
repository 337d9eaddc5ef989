"""Metrics of edge transfer and local features."""
from typing import Dict

from .spec import MetricSpec

ENTRIES: Dict[str, Dict[str, MetricSpec]] = {}
