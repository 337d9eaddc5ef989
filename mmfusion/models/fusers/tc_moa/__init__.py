"""TC-MoA: a frozen masked autoencoder and small adapters, which one routed mixture per task steers from two sources to
one image.

P. Zhu, Y. Sun, B. Cao, Q. Hu, "Task-customized mixture of adapters for general image fusion", CVPR 2024, arXiv
2403.12494. The frozen network is the masked autoencoder of K. He, X. Chen, S. Xie, Y. Li, P. Dollar, R. Girshick,
"Masked autoencoders are scalable vision learners", CVPR 2022, whose weights are licensed CC BY-NC 4.0. Written from a
description of the method, without official code. No weights are shipped.
"""

from .fuser import TCMoA

__all__ = ['TCMoA']
