"""Training loops."""

from .check_loop import check_loop
from .coupling_train_loop import CouplingTrainLoop
from .meta_init_loop import MetaInitLoop
from .meta_train_loop import MetaTrainLoop
from .search_train_loop import SearchTrainLoop

__all__ = ['CouplingTrainLoop', 'MetaInitLoop', 'MetaTrainLoop', 'SearchTrainLoop', 'check_loop']
