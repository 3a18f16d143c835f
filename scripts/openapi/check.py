#!/usr/bin/env python3
"""Holds a running server against its own OpenAPI document.

check.py URL    e.g. http://127.0.0.1:8611

The document is validated by openapi-spec-validator; then schemathesis asks each path what the
document allows and what it does not, with the same questions at each run. It stops with 1 at
anything that the document does not tell: a status, a content type, a header, a value; a wrong
question that is answered, and a right one that is refused.
"""

import os
import subprocess
import sys
from pathlib import Path

import requests
from openapi_spec_validator import validate

HERE = Path(__file__).resolve().parent


def main(url: str) -> int:
    document = requests.get(f"{url}/openapi.json", timeout=10).json()
    validate(document)
    print(f"the document is valid: {len(document['paths'])} paths", flush=True)
    asked = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file"),
            *(HERE / "schemathesis.toml", "run", f"{url}/openapi.json"),
        ],
        # Found by name there.
        env={**os.environ, "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )
    return asked.returncode


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
