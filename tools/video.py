#!/usr/bin/env python
"""Fuse two streams: tools/video.py FIRST SECOND [--model NAME] [--out FILE]; see --help."""

from mmfusion.cli.video import main

if __name__ == '__main__':
    main()
