"""Helpers of the metric functions: checks, filters, histograms, windows."""
