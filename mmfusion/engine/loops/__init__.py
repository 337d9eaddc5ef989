"""Training loops."""
from .meta_train_loop import MetaTrainLoop

__all__ = ['MetaTrainLoop']
