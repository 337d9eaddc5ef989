#!/usr/bin/env python
"""Convert official weights of a published fuser, the name of which comes first: mmfusion convert densefuse, see
--help.
"""

from mmfusion.cli.convert_published import main

if __name__ == '__main__':
    main()
