#!/usr/bin/env python3
"""Reads the tables of a data directory with PyIceberg and with DuckDB, and prints what each sees.

read_tables.py DIR: one JSON object, reader -> table -> {"rows": n, "sum": text, "offsets": n}.
"""

import json
import sqlite3
import sys
from decimal import Decimal
from pathlib import Path

import duckdb
import duckdb_extension_avro
import duckdb_extension_iceberg
import pyarrow.compute as compute
from pyiceberg.catalog.sql import SqlCatalog

NAMESPACE = "market_data"
# Table -> its column that is summed.
TABLES = {"trades": "quantity", "quotes": "bid_quantity", "rejects": None, "gaps": None}


def with_pyiceberg(directory: Path) -> dict:
    catalog = SqlCatalog(
        "k2", uri=f"sqlite:///{directory}/catalog.db", warehouse=f"file://{directory}/warehouse"
    )
    seen = {}
    for name, column in TABLES.items():
        rows = catalog.load_table(f"{NAMESPACE}.{name}").scan().to_arrow()
        total = sum(rows[column].to_pylist(), Decimal(0)) if column else Decimal(0)
        offsets = compute.sum(rows["offset"]).as_py() or 0
        seen[name] = {"rows": rows.num_rows, "sum": f"{total:.12f}", "offsets": offsets}
    return seen


def with_duckdb(directory: Path) -> dict:
    database = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    for package, name in ((duckdb_extension_avro, "avro"), (duckdb_extension_iceberg, "iceberg")):
        [extension] = Path(package.__path__[0]).rglob(f"{name}.duckdb_extension")
        database.execute(f"LOAD '{extension}'")
    catalog = sqlite3.connect(f"file:{directory}/catalog.db?mode=ro", uri=True)
    locations = dict(catalog.execute(
        "SELECT table_name, metadata_location FROM iceberg_tables WHERE table_namespace = ?",
        (NAMESPACE,),
    ))
    seen = {}
    for name, column in TABLES.items():
        total = f"coalesce(sum({column}), 0)" if column else "0"
        rows, total, offsets = database.execute(
            f'SELECT count(*), {total}, coalesce(sum("offset"), 0) '
            f"FROM iceberg_scan('{locations[name]}')"
        ).fetchone()
        seen[name] = {"rows": rows, "sum": f"{Decimal(total):.12f}", "offsets": int(offsets)}
    return seen


root = Path(sys.argv[1]).resolve()
print(json.dumps({"pyiceberg": with_pyiceberg(root), "duckdb": with_duckdb(root)}))
