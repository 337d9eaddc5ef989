#!/usr/bin/env python
"""Fuse two images, or two folders of images: tools/fuse.py FIRST SECOND [--model NAME] [--out FILE]; see --help."""

from mmfusion.cli.fuse import main

if __name__ == '__main__':
    main()
