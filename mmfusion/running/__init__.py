"""Runs from a config: preparing, checking that data and model fit together, training, testing, searching."""
