"""Clients that are not K2, for `k2 bench query`: psycopg, and DuckDB over the same Parquet files.

A question a line on standard input, as JSON: {"sql": ..., "files": [...]}; a line of the answer for
each: {"us": microseconds, "row": [...]}. Questions go out at a steady rate, and what one takes is
counted from its own time on.
"""

import json
import sys
import time


def postgres(host, port):
    import psycopg

    connection = psycopg.connect(host=host, port=port, user="bench", dbname="k2", autocommit=True)
    return lambda question: connection.execute(question["sql"]).fetchall()


def duckdb(threads):
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"SET threads = {threads}")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET parquet_metadata_cache = true")

    # Files with few digits keep their decimals in fewer bits, so types differ from file to file.
    def ask(question):
        files = ", ".join("'" + name.replace("'", "''") + "'" for name in question["files"])
        sql = question["sql"].replace("FROM trades", f"FROM read_parquet([{files}], union_by_name = true)")
        return connection.execute(sql).fetchall()

    return ask


def main():
    kind, rate, *rest = sys.argv[1:]
    ask = {"postgres": postgres, "duckdb": duckdb}[kind](*rest)
    questions = [json.loads(line) for line in sys.stdin]
    ask(questions[0])
    begun = time.perf_counter()
    for nth, question in enumerate(questions):
        due = begun + nth / float(rate)
        time.sleep(max(0.0, due - time.perf_counter()))
        rows = ask(question)
        took = time.perf_counter() - due
        print(json.dumps({"us": int(took * 1e6), "row": [str(value) for value in rows[0]]}))


if __name__ == "__main__":
    main()
