"""The engine behind the hooks: it makes a project of the tree, and regenerates one.

Cookiecutter's own interpreter runs it (Python 3.10 or newer) with nothing but the standard library.
Every bake pays for its imports, and plain cookiecutter takes about 500 ms. So the slow ones are
left out (``yaml`` 45 ms, ``dataclasses`` 14, ``pathlib`` and ``typing`` 4 each, for either hook)
and the rarely needed ones are made where they are used.
"""

# Where cookiecutter renders to, in the project. Never over its files: only the hooks write those,
# so a bake that fails, is killed or whose hooks are refused costs an existing project nothing.
RENDERED = "unpruned"

# The folder of the template that holds the whole tree.
TREE = "{{cookiecutter.project_slug}}/" + RENDERED

# The folder of a run that regenerates a project, in that project. Git does not see it.
WORK_FOLDER = ".blueprint-regenerating"

# The file in a project that tells how it was made.
RECORD = ".blueprint.json"
