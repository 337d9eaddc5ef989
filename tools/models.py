#!/usr/bin/env python
"""Trained models by name: tools/models.py list | show NAME | add FILE --as KIND --license TEXT | remove NAME; see
--help.
"""

from mmfusion.cli.models import main

if __name__ == '__main__':
    main()
