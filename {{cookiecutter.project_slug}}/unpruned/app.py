"""A notice for a tree of which no project was made, because the template's hooks were refused."""

import sys

sys.exit(
    "This is no project yet: the template's hooks were refused. "
    "Bake it again with the hooks accepted; README.md says how."
)
