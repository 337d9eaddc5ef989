"""ReFusion: channel-attention encoders, fusion by exchanged queries; the fuser of ReFusion and of TDFusion.

H. Bai, J. Zhang, Z. Zhao, Y. Wu, L. Deng, Y. Cui, T. Feng, S. Xu, "Task-driven image fusion with learnable fusion
loss", CVPR 2025, arXiv 2412.03240; the network is that of H. Bai et al., "ReFusion: Learning image fusion from
reconstruction with learnable loss via meta-learning", arXiv 2312.07943. Written from a description of the method,
without official code. No weights are shipped; ``tools/model_converters/tdfusion_official.py`` brings the official ones
over.
"""

from .fuser import ReFusion

__all__ = ['ReFusion']
