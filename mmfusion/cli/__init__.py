"""Commands: one file each, with the command line and what is printed. Importing them loads neither torch nor
mmengine.
"""
