"""Scoring of folders of fused images, from any method, against the folders of their sources."""
