"""Starts a worker with an interpreter that has a runtime and numpy, but no swapbench.

    PYTHON lend.py swapbench=/path/of/swapbench/__init__.py [plugin=/path/of/plugin.py] -m MODULE OPTIONS

The packages that are named become importable, and nothing that lies beside them. A file for itself that any
Python can read, so that one that is too old is told so; its answers keep to `swapbench.runtimes.contract`.
"""

from __future__ import print_function

import json
import os
import sys

OLDEST = (3, 11)


if __name__ == "__main__":
    problem = None
    place = sys.argv.index("-m")
    lent, module = sys.argv[1:place], sys.argv[place + 1]
    sys.argv[1:] = sys.argv[place + 2 :]
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != here]
    if sys.version_info < OLDEST:
        problem = "it is Python %s, and a worker needs %s or newer" % (
            ".".join(map(str, sys.version_info[:3])),
            ".".join(map(str, OLDEST)),
        )
    else:
        import importlib.util
        import runpy
        import types

        files = dict(one.split("=", 1) for one in lent)
        folders = {
            name: [os.path.dirname(path)] if os.path.basename(path) == "__init__.py" else None
            for name, path in files.items()
        }
        finder = types.SimpleNamespace(
            find_spec=lambda name, path=None, target=None: (
                importlib.util.spec_from_file_location(
                    name, files[name], submodule_search_locations=folders[name]
                )
                if name in files
                else None
            )
        )
        sys.meta_path.insert(0, finder)
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except ImportError as missing:
            problem = "it has no module %s" % missing.name if missing.name else str(missing)
    if problem is not None:
        print(json.dumps({"event": "error", "message": problem}))
        sys.exit(1)
