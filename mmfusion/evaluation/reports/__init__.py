"""Summaries of metrics over images, as tables and as plots."""
