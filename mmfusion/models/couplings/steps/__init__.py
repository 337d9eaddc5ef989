"""Pieces of training steps: states to go back to, optimizers, gradients through an update, batches of several sizes,
checks.
"""
