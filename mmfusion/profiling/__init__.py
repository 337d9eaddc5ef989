"""Speed and size: timing of networks, training steps and metrics, latency tables, counted operations."""
