"""A program: open the page of its argument in the dashboard that it imports, and write what a reader sees there."""

import sys
from pathlib import Path

import dashboard
from tests.dashboard.sites import open_page, read

if __name__ == "__main__":
    page = open_page(sys.argv[1], Path(dashboard.__file__).with_name("app.py"))
    shown = [*(title.value for title in page.title), *(element.proto.body for element in page.get("html"))]
    sys.stdout.write("\n".join(map(read, shown)))
