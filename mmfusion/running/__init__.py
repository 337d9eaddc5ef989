"""From a config to a run: preparing it, checking that data and model fit together, training, testing, searching."""
