"""GIFNet: the published network with converted weights (docs/en/published_fusers.md), or trained without labels on
pairs of four sets.
"""
_base_ = './_base_/published/ivif.py'
model = dict(fuser=dict(type='GIFNet'))
