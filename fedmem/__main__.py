"""``python -m fedmem`` is the command ``fedmem``."""

from fedmem.cli import main

main()
