"""Runs after everything is rendered: prunes, places, records. The work is in ``blueprint``.

Cookiecutter renders this file, then runs it in the project's folder by its own interpreter.
"""

import json
import os
import sys

# Cookiecutter renders hooks while it works in the template's root, however the template was named.
# `_repo_dir` is not enough: it is relative for a relative template, and cruft does not set it.
# JSON as `tojson` writes it is ASCII and holds no single quote, so no answer can end these strings.
TEMPLATE = json.loads(r'''{{ lipsum.__globals__.os.getcwd() | tojson }}''')
ANSWERS = json.loads(r'''{{ cookiecutter | tojson }}''')

# The template may be somebody's working tree: leave no __pycache__ there.
sys.dont_write_bytecode = True
sys.path.insert(0, f"{TEMPLATE}/hooks")

from blueprint.bake.post_hook import main  # noqa: E402

if __name__ == "__main__":
    code = main(TEMPLATE, ANSWERS)
    # Everything was said and flushed; taking the interpreter down would only cost time.
    os._exit(code)
