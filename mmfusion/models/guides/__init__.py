"""Guides: networks that yield guidance for a fuser."""
