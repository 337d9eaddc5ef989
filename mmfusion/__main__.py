"""``python -m mmfusion``, the same as the command ``mmfusion``."""

from mmfusion.cli.main import main

if __name__ == '__main__':
    main()
