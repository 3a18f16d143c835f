#!/usr/bin/env python3
"""Asks a server over PostgreSQL's protocol, through psycopg: one question a line of standard input,
one answer a line of standard output, both JSON.

  {"sql": "SELECT %s", "parameters": [["Decimal", "1.5"]], "binary": true}
  {"types": ["numeric"], "rows": [["Decimal('1.5')"]], "notices": []}

"how" is "whole" if it is not said, "cursor" for one of the server's, or "copy", where the columns are
those that a test asks for.
"""

import json
import sys
from datetime import datetime
from decimal import Decimal

import psycopg

MAKE = {
    "Decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "bytes": bytes.fromhex,
    "as it is": lambda value: value,
}


COPIED = ["text", "numeric", "timestamptz", "text[]", "text", "bool"]


def answer(description: list, rows: list) -> dict:
    types = [column.type_display for column in description]
    rows = [[repr(value) for value in row] for row in rows]
    return {"types": types, "rows": rows, "notices": list(notices)}


def in_parts(connection: psycopg.Connection, question: dict, parameters: list) -> dict:
    binary = question.get("binary", False)
    with connection.transaction(), connection.cursor("in parts", binary=binary) as cursor:
        cursor.itersize = 7
        cursor.execute(question["sql"], parameters or None)
        first = cursor.fetchmany(3)
        return answer(cursor.description, first + list(cursor))


def copied(connection: psycopg.Connection, question: dict) -> dict:
    with connection.cursor() as cursor, cursor.copy(question["sql"]) as copy:
        copy.set_types(COPIED)
        return answer([], list(copy.rows()))


def ask(connection: psycopg.Connection, question: dict) -> dict:
    parameters = [MAKE[kind](value) for kind, value in question.get("parameters", [])]
    notices.clear()
    try:
        if question.get("how") == "cursor":
            return in_parts(connection, question, parameters)
        if question.get("how") == "copy":
            return copied(connection, question)
        with connection.cursor(binary=question.get("binary", False)) as cursor:
            cursor.execute(question["sql"], parameters or None, prepare=question.get("prepare"))
            return answer(cursor.description or [], list(cursor) if cursor.description else [])
    except psycopg.Error as error:
        diagnostic = error.diag
        return {
            "state": diagnostic.sqlstate,
            "message": diagnostic.message_primary,
            "hint": diagnostic.message_hint,
            "class": type(error).__name__,
        }


notices: list[str] = []
with psycopg.connect(sys.argv[1], autocommit=True) as connected:
    connected.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    for line in sys.stdin:
        print(json.dumps(ask(connected, json.loads(line))), flush=True)
