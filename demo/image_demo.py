#!/usr/bin/env python
"""Fuse two images, or two folders of images: demo/image_demo.py FIRST SECOND [options]; see --help."""

from mmfusion.cli.fuse import main

if __name__ == '__main__':
    main()
