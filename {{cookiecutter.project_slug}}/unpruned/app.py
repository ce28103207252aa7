"""The whole tree of the template, before the hooks made a project of it."""

import sys

sys.stderr.write(
    "This project was not pruned: the template's hooks were refused. "
    "Bake it again with the hooks accepted; README.md says how.\n"
)
