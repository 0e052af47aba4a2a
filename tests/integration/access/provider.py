"""A third party's OIDC provider from the package index, in a process of its own on a port of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# Its own process also keeps its deprecation warnings from becoming errors here.
PROGRAM = """
import json, sys
from wsgiref.simple_server import WSGIRequestHandler, make_server
from oidc_provider_mock import User, app

class Silent(WSGIRequestHandler):
    def log_message(self, *_):
        pass

people = json.loads(sys.argv[1])
users = [User(sub=sub, claims=claims) for sub, claims in people.items()]
server = make_server("127.0.0.1", 0, app(require_nonce=True, user_claims=users), handler_class=Silent)
print(server.server_port, flush=True)
server.serve_forever()
"""


@dataclass(frozen=True)
class Provider:
    """The provider, where it is."""

    issuer: str


@contextmanager
def provider(people: Mapping[str, Mapping[str, Any]]) -> Iterator[Provider]:
    """Run a provider with people by subject for the time of the block."""
    words = [sys.executable, "-W", "ignore", "-c", PROGRAM, json.dumps(people)]
    environment = {**os.environ, "AUTHLIB_INSECURE_TRANSPORT": "1"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment) as run:
        assert run.stdout is not None
        try:
            yield Provider(f"http://127.0.0.1:{int(run.stdout.readline())}")
        finally:
            run.kill()
