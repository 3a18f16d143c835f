#!/usr/bin/env python3
"""Asks a server over PostgreSQL's protocol, through psycopg: one question a line of standard input,
one answer a line of standard output, both JSON.

  {"sql": "SELECT %s", "parameters": [["Decimal", "1.5"]], "binary": true}
  {"types": ["numeric"], "rows": [["Decimal('1.5')"]], "notices": []}
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


def ask(connection: psycopg.Connection, question: dict) -> dict:
    parameters = [MAKE[kind](value) for kind, value in question.get("parameters", [])]
    notices.clear()
    try:
        with connection.cursor(binary=question.get("binary", False)) as cursor:
            cursor.execute(question["sql"], parameters or None, prepare=question.get("prepare"))
            types = [column.type_display for column in cursor.description or []]
            rows = [[repr(value) for value in row] for row in cursor] if types else []
            return {"types": types, "rows": rows, "notices": list(notices)}
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
