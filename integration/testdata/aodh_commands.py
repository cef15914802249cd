"""Runs commands of openstack with aodhclient in one process: for each JSON list of
arguments on standard input it prints {"status", "out", "err"}."""
import contextlib
import io
import json
import sys

from openstackclient import shell

for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            s = shell.OpenStackShell()
            s.stdout, s.stderr = out, err
            status = s.run(json.loads(line))
        except SystemExit as end:
            status = end.code
    print(json.dumps({"status": status, "out": out.getvalue(), "err": err.getvalue()}), flush=True)
