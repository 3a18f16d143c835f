#!/usr/bin/env python3
"""Asks a server over Arrow Flight SQL, through the drivers of Python: one question a line of
standard input, one answer a line of standard output, both JSON.

  {"with": "adbc", "sql": "SELECT ?", "parameters": [["Decimal", "1.5"]]}
  {"types": ["decimal128(2, 1)"], "rows": [["Decimal('1.5')"]]}

With "pyarrow" a question is a descriptor in plain text and then its ticket; the answer has what both
say of the rows besides. With "browse" it is about catalogs, tables and types.

  ask_with_flight.py ADDRESS [KEY]
"""

import json
import sys
from datetime import datetime
from decimal import Decimal

import adbc_driver_flightsql
import adbc_driver_manager
import pyarrow
from adbc_driver_flightsql import dbapi
from pyarrow import flight

MAKE = {
    "Decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "bytes": bytes.fromhex,
    "as it is": lambda value: value,
}


def values(column: pyarrow.ChunkedArray) -> list:
    # Python has no times with nanoseconds, so those are told as numbers.
    is_nanos = pyarrow.types.is_timestamp(column.type) and column.type.unit == "ns"
    return (column.cast(pyarrow.int64()) if is_nanos else column).to_pylist()


def told(table: pyarrow.Table) -> dict:
    columns = [values(column) for column in table.columns]
    rows = [[repr(value) for value in row] for row in zip(*columns)]
    return {"types": [str(field.type) for field in table.schema], "rows": rows}


def with_adbc(connection, question: dict) -> dict:
    parameters = [MAKE[kind](value) for kind, value in question.get("parameters", [])]
    with connection.cursor() as cursor:
        if question.get("is_update"):
            return {"updated": cursor.adbc_statement.set_sql_query(question["sql"])
                    or cursor.adbc_statement.execute_update()}
        cursor.execute(question["sql"], parameters or None)
        answer = told(cursor.fetch_arrow_table())
        if "again" in question:
            cursor.execute(question["sql"], [MAKE[kind](value) for kind, value in question["again"]])
            answer["again"] = told(cursor.fetch_arrow_table())["rows"]
        return answer


def with_pyarrow(client: flight.FlightClient, options, question: dict) -> dict:
    if "path" in question:
        descriptor = flight.FlightDescriptor.for_path(question["path"])
    else:
        descriptor = flight.FlightDescriptor.for_command(question["sql"])
    info = client.get_flight_info(descriptor, options)
    batches, last = [], None
    for chunk in client.do_get(info.endpoints[0].ticket, options):
        batches.append(chunk.data)
        last = chunk.app_metadata or last
    table = pyarrow.Table.from_batches(batches, info.schema)
    return told(table) | {
        "as_of": json.loads(info.app_metadata)["as_of"],
        "meta": json.loads(last.to_pybytes()),
        "schema": client.get_schema(descriptor, options).schema == info.schema,
    }


def browse(connection, client: flight.FlightClient, options, _question: dict) -> dict:
    objects = connection.adbc_get_objects(depth="all").read_all().to_pylist()
    tables = {
        table["table_name"]: [
            table["table_type"],
            [column["column_name"] for column in table["table_columns"]],
        ]
        for catalog in objects
        for schema in catalog["catalog_db_schemas"]
        for table in schema["db_schema_tables"]
    }
    named = connection.adbc_get_objects(
        depth="tables", catalog_filter="k2", db_schema_filter="market%", table_name_filter="ohlcv\\_1_",
        table_types_filter=["VIEW"],
    )
    [schemas] = named.read_all().to_pylist()
    return {
        "catalogs": [catalog["catalog_name"] for catalog in objects],
        "schemas": [schema["db_schema_name"] for schema in objects[0]["catalog_db_schemas"]],
        "tables": tables,
        "named": [table["table_name"] for table in schemas["catalog_db_schemas"][0]["db_schema_tables"]],
        "table_types": connection.adbc_get_table_types(),
        "info": {str(key): str(value) for key, value in connection.adbc_get_info().items()},
        "trades": {field.name: str(field.type) for field in connection.adbc_get_table_schema("trades")},
        "flights": [info.descriptor.path[0].decode() for info in client.list_flights(options=options)],
        "actions": [action.type for action in client.list_actions(options)],
    }


def answer(question: dict) -> dict:
    try:
        match question["with"]:
            case "adbc":
                return with_adbc(connection, question)
            case "pyarrow":
                return with_pyarrow(client, options, question)
            case "browse":
                return browse(connection, client, options, question)
            case other:
                raise ValueError(other)
    except (adbc_driver_manager.Error, flight.FlightError, pyarrow.ArrowException) as error:
        status = getattr(error, "status_code", None)
        return {
            "class": type(error).__name__,
            "message": str(error),
            "status": status.name if status is not None else None,
        }


address, key = sys.argv[1], (sys.argv[2:] or [None])[0]
client = flight.FlightClient(address)
options, given = flight.FlightCallOptions(), {}
if key:
    # The one way of each driver that sends a key as a password, and then the token for it.
    token = client.authenticate_basic_token("anybody", key)
    options = flight.FlightCallOptions(headers=[token])
    given = {"username": "anybody", "password": key}
try:
    connection = dbapi.connect(address, db_kwargs=given, autocommit=True)
except adbc_driver_manager.Error as error:
    connection = None
    print(json.dumps({"class": type(error).__name__, "message": str(error)}), flush=True)
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
