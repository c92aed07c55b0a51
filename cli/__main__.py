"""``python -m cli`` is the command ``fedmem``."""

from cli import main

main()
