"""Runs command lines by Azure CLI, one after the other, each in a process of its own that has Azure CLI loaded already."""
import json
import os
import sys
import tempfile

import azure.cli.core as core
from azure.cli.core import get_default_cli
from azure.cli.core.commands import ExtensionCommandSource  # noqa: F401: the modules that each command loads
import azure.cli.command_modules.profile.custom  # noqa: F401
import azure.cli.core._profile  # noqa: F401
import azure.cli.core.util  # noqa: F401
import jmespath, msal, msrest, requests, tabulate, yaml  # noqa: F401,E401


def run(words):
    """Returns the exit code, and what went to stdout and stderr."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.argv = ["az", *words]
            code = 1
            try:
                code = get_default_cli().invoke(words)
            except SystemExit as ending:
                code = ending.code
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code if isinstance(code, int) else 1)
        _, status = os.waitpid(pid, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
        return {"code": os.waitstatus_to_exitcode(status), "stdout": texts[0], "stderr": texts[1]}


assert core.__version__
for line in sys.stdin:
    print(json.dumps(run(json.loads(line))), flush=True)
