"""Expires snapshots of a table of K2, as other engines do.

    python3 scripts/expire_snapshots.py DATA-DIR ENGINE TABLE SNAPSHOT-ID...

ENGINE is pyiceberg, which forgets who the parent of an expired snapshot was, or keeping-parents,
which does not.
"""

import gzip
import json
import sqlite3
import sys
import uuid
from pathlib import Path

from pyiceberg.catalog.sql import SqlCatalog


def keeping_parents(directory: Path, table: str, expired: set[int]) -> None:
    catalog = sqlite3.connect(directory / "catalog.db")
    [location] = catalog.execute(
        "SELECT metadata_location FROM iceberg_tables WHERE table_name = ?", (table,)
    ).fetchone()
    path = Path(location.removeprefix("file://"))
    metadata = json.loads(gzip.decompress(path.read_bytes()))
    for key in ("snapshots", "snapshot-log"):
        metadata[key] = [it for it in metadata[key] if it["snapshot-id"] not in expired]
    metadata["metadata-log"].append(
        {"metadata-file": location, "timestamp-ms": metadata["last-updated-ms"]}
    )
    version = int(path.name.split("-")[0]) + 1
    path = path.with_name(f"{version:05}-{uuid.uuid4()}.gz.metadata.json")
    path.write_bytes(gzip.compress(json.dumps(metadata).encode()))
    scheme = "file://" if location.startswith("file://") else ""
    catalog.execute(
        "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? "
        "WHERE table_name = ?", (f"{scheme}{path}", location, table),
    )
    catalog.commit()


def pyiceberg(directory: Path, table: str, expired: set[int]) -> None:
    catalog = SqlCatalog(
        "k2", uri=f"sqlite:///{directory}/catalog.db", warehouse=f"file://{directory}/warehouse"
    )
    loaded = catalog.load_table(f"market_data.{table}")
    loaded.maintenance.expire_snapshots().by_ids(sorted(expired)).commit()


directory, engine, table, *ids = sys.argv[1:]
expire = {"keeping-parents": keeping_parents, "pyiceberg": pyiceberg}[engine]
expire(Path(directory).resolve(), table, {int(id) for id in ids})
