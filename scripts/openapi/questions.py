"""What schemathesis cannot know of K2's questions from their document; see check.py.

A schema cannot say that one field goes with another, that a cursor was signed here, or what SQL
is. So right questions are put right in that too, and half of them name what the server has.
"""

from datetime import datetime, timedelta, timezone

import schemathesis
from hypothesis import strategies

# Nanoseconds since 1970 in 64 bits: no year before 1678 and none after 2261.
moments = strategies.datetimes(datetime(1678, 1, 1), datetime(2261, 1, 1))
zones = strategies.integers(-14 * 60, 14 * 60).map(
    lambda minutes: timezone(timedelta(minutes=minutes))
)
zoned = strategies.builds(lambda moment, zone: moment.replace(tzinfo=zone).isoformat(), moments, zones)
schemathesis.openapi.format("date-time", zoned)
schemathesis.openapi.format("date", moments.map(lambda moment: moment.date().isoformat()))

KNOWN = {"symbol": ["BTC-USDT", "ETHUSDT"], "venue": ["BINANCE", "binance_usdm"]}
FROM, UNTIL = "2024-08-08T23:00:00Z", "2024-08-09T02:00:00+01:00"
QUESTIONS = [
    "SELECT * FROM trades LIMIT 3",
    "SELECT symbol, sum(quantity) FROM trades GROUP BY symbol",
    "SELECT * FROM ohlcv_1m ORDER BY window_start DESC LIMIT 2",
    "SELECT NULL, 1.5, true, 'x', X'00ff', DATE '2024-08-09', make_array(1), now()",
]


def is_picked(text: str) -> bool:
    """Half of all, always the same."""
    return sum(text.encode(errors="replace")) % 2 == 0


def put_right(given: dict) -> None:
    """What no schema says of the fields of a right question."""
    given.pop("cursor", None)
    if given.get("at") is not None:
        given.pop("as_of", None)
        given["at"] = "1999-01-01" if is_picked(str(given["at"])) else "tag:eod"
    for name, known in KNOWN.items():
        if isinstance(given.get(name), str) and is_picked(given[name]):
            given[name] = known[len(given[name]) % len(known)]
        names = given.get(f"{name}s")
        if isinstance(names, list) and is_picked("".join(names)):
            given[f"{name}s"] = known
    if given.get("start_time") is not None and given.get("end_time") is not None:
        given["start_time"], given["end_time"] = FROM, UNTIL
    for most in ("max_price", "max_quantity"):
        if most in given:
            given[most] = "99999999999999999999"
    if "metrics" in given:
        is_profile = given.get("price_step") is not None
        given["metrics"] = ["volume_profile"] if is_profile else ["ohlcv", "twap"]
        if is_profile:
            given["price_step"] = "10.5"
    if "sql" in given:
        given["sql"] = QUESTIONS[len(given["sql"]) % len(QUESTIONS)]
    for query in given.get("queries") or []:
        put_right(query)
        if query.get("limit") is not None:
            query["limit"] = 5_000


@schemathesis.hook
def before_call(context, case, kwargs) -> None:
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    for given in (case.query, case.path_parameters, case.body):
        if isinstance(given, dict):
            put_right(given)
