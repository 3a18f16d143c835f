"""Expires snapshots of a table of K2, as engines do that keep who a snapshot's parent was.

    python3 scripts/expire_snapshots.py DATA-DIR TABLE SNAPSHOT-ID...
"""

import gzip
import json
import sqlite3
import sys
import uuid
from pathlib import Path

directory, table, *ids = sys.argv[1:]
expired = {int(id) for id in ids}
catalog = sqlite3.connect(Path(directory) / "catalog.db")
[location] = catalog.execute(
    "SELECT metadata_location FROM iceberg_tables WHERE table_name = ?", (table,)
).fetchone()
path = Path(location.removeprefix("file://"))
metadata = json.loads(gzip.decompress(path.read_bytes()))
for key in ("snapshots", "snapshot-log"):
    metadata[key] = [it for it in metadata[key] if it["snapshot-id"] not in expired]
version = int(path.name.split("-")[0]) + 1
path = path.with_name(f"{version:05}-{uuid.uuid4()}.gz.metadata.json")
path.write_bytes(gzip.compress(json.dumps(metadata).encode()))
scheme = "file://" if location.startswith("file://") else ""
catalog.execute(
    "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? "
    "WHERE table_name = ?", (f"{scheme}{path}", location, table),
)
catalog.commit()
