"""TarDAL as its weights of that name are published to run, not those of TarDAL+ and TarDAL++: every picture has its own
statistics.
"""
_base_ = './tardal_ivif.py'
model = dict(fuser=dict(batch_statistics=True))
