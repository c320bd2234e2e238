"""``python -m emobench`` is the command ``emobench``."""

from emobench.cli import main

main()
