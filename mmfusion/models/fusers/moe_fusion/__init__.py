"""MoE-Fusion: mixtures of local and global experts.

B. Cao, Y. Sun, P. Zhu, Q. Hu, "Multi-modal gated mixture of local-to-global experts for dynamic image fusion", ICCV
2023, p. 23555-23564, arXiv 2302.01392. Written from a description of the method, without official code. No weights are
shipped; ``tools/model_converters/moe_fusion_official.py`` brings a checkpoint of the official code over.
"""

from .fuser import MoEFusion

__all__ = ['MoEFusion']
