//! What PostgreSQL has a function, a literal or a form of its own for: the answers are those of
//! PostgreSQL 15, in the zone UTC.

use k2_serve::Request;

use super::support::Job;
use super::{answer, ask, live, rows, texts_of};

const NUMBERS: [(&str, &str); 57] = [
    ("mod(7, 3)", "1"),
    ("mod(-7, 3)", "-1"),
    ("mod(7.5, 2)", "1.5"),
    ("mod(-7.5, 2.0)", "-1.5"),
    ("mod(61837.63, 0.05)", "0.03"),
    ("mod(9223372036854775807, 10)", "7"),
    ("div(7, 2)", "3"),
    ("div(-7.5, 2)", "-3"),
    ("div(61837.63, 0.5)", "123675"),
    ("sign(-2.5)", "-1"),
    ("sign(0.0)", "0"),
    ("sign(61837.63)", "1"),
    ("sign(-3)", "-1"),
    ("sign(-2.5::float8)", "-1"),
    ("trunc(2.567, 2)", "2.56"),
    ("trunc(-2.567, 1)", "-2.5"),
    ("trunc(1234.5, -2)", "1200"),
    ("trunc(2.9)", "2"),
    ("trunc(-2.9)", "-2"),
    ("trunc(2.5, 5)", "2.50000"),
    ("trunc(-2.9::float8)", "-2"),
    ("trunc(null::numeric, 2)", "null"),
    ("round(2.5)", "3"),
    ("round(-2.5)", "-3"),
    ("round(0.5)", "1"),
    ("round(3.14159, 2)", "3.14"),
    ("round(61837.635, 2)", "61837.64"),
    ("round(1250.0, -2)", "1300"),
    ("round(2.5::float8)", "2"),
    ("round(0.5::float8)", "0"),
    ("round(-1.5::float8)", "-2"),
    ("round(3.5::float4)", "4"),
    ("round(2.6::float8)", "3"),
    ("round(null::float8)", "null"),
    (
        "(SELECT sum(round(a)) FROM (VALUES (0.5::float8), (1.5::float8), (2.5::float8)) AS t(a))",
        "4",
    ),
    ("ceil(1.2)", "2"),
    ("ceil(-1.2)", "-1"),
    ("ceiling(1.2)", "2"),
    ("floor(-1.2)", "-2"),
    ("floor(1.8)", "1"),
    ("abs(-61837.63)", "61837.63"),
    ("greatest(1.5, 2)", "2"),
    ("least(1.5, 2, -3.25)", "-3.25"),
    ("power(2.0, 3)", "8.0000000000000000"),
    ("power(1.05, 2)", "1.1025000000000000"),
    ("power(0.5, 2)", "0.2500000000000000"),
    ("power(2.5, 4)", "39.0625000000000000"),
    ("power(4, 0.5)", "2.0000000000000000"),
    ("power(2, 10)", "1024"),
    ("power(2.0, -2)", "0.2500000000000000"),
    ("width_bucket(5.35, 0.024, 10.06, 5)", "3"),
    ("width_bucket(5.35, 10.06, 0.024, 5)", "3"),
    ("width_bucket(-1, 0, 10, 5)", "0"),
    ("width_bucket(10, 0, 10, 5)", "6"),
    ("width_bucket(0, 10, 0, 5)", "6"),
    ("width_bucket(10, 10, 0, 5)", "1"),
    ("width_bucket(0.35::float8, 0, 1, 10)", "4"),
];

const TEXTS: [(&str, &str); 33] = [
    ("md5('abc')", "900150983cd24fb0d6963f7d28e17f72"),
    ("md5('')", "d41d8cd98f00b204e9800998ecf8427e"),
    ("format('%s-%s %%', 'a', 1)", "a-1 %"),
    ("format('%I.%L', 'My Col', 'it''s')", "\"My Col\".'it''s'"),
    ("format('%2$s %1$s', 'a', 'b')", "b a"),
    ("format('[%5s|%-5s]', 'a', 'b')", "[    a|b    ]"),
    ("format('[%s] %L', null, null)", "[] NULL"),
    ("format('%s', true)", "t"),
    ("quote_literal('it''s')", "'it''s'"),
    ("quote_nullable(null)", "NULL"),
    ("left('abcdef', -2)", "abcd"),
    ("right('abcdef', -2)", "cdef"),
    ("concat_ws('-', 'a', null, 'b')", "a-b"),
    ("split_part('a,b,c', ',', 2)", "b"),
    ("initcap('hello WORLD')", "Hello World"),
    ("to_hex(255)", "ff"),
    ("chr(65)", "A"),
    ("ascii('A')", "65"),
    ("btrim('xxaxx', 'x')", "a"),
    ("lpad('7', 3, '0')", "007"),
    ("rpad('7', 3, '0')", "700"),
    ("regexp_replace('aAa', 'a', 'x', 'gi')", "xxx"),
    ("array_to_string(string_to_array('a,b,c', ','), '+')", "a+b+c"),
    ("array_to_string(array_remove(ARRAY[1, 2, 1, 3], 1), '+')", "2+3"),
    ("array_length(ARRAY[1, 2, 3], 1)", "3"),
    ("array_length(array_remove(ARRAY[1, 1], 1), 1)", "null"),
    ("pg_size_pretty(10239::bigint)", "10239 bytes"),
    ("pg_size_pretty(10240::bigint)", "10 kB"),
    ("pg_size_pretty(null::bigint)", "null"),
    ("strpos('abc', 'c')", "3"),
    ("translate('abc', 'ab', 'xy')", "xyc"),
    ("reverse('abc')", "cba"),
    ("starts_with('abc', 'ab')", "true"),
];

const LITERALS: [(&str, &str); 25] = [
    ("' 12 '::int + 1", "13"),
    ("'\t1.5 '::numeric * 2", "3.0"),
    ("' 2.5'::float8 * 2", "5"),
    ("'yes'::bool", "true"),
    ("' on '::bool", "true"),
    ("'t'::bool", "true"),
    ("'1'::bool", "true"),
    ("'off'::bool", "false"),
    ("'n'::bool", "false"),
    ("interval '1 day 02:30:00' = interval '1 day 2 hours 30 minutes'", "true"),
    ("interval '02:30' = interval '150 minutes'", "true"),
    ("'1 mon -3 days'::interval = interval '1 month' - interval '3 days'", "true"),
    ("'P1DT2H'::interval = interval '1 day 2 hours'", "true"),
    ("interval '90' minute = interval '90 minutes'", "true"),
    ("interval '1-2' = interval '14 months'", "true"),
    ("interval '1-2' year to month = interval '14 months'", "true"),
    ("interval '1 2:03' day to minute = interval '1 day 2 hours 3 minutes'", "true"),
    ("interval '3 days ago' = interval '-3 days'", "true"),
    ("interval '-1 day 02:30' = interval '-1 days 150 minutes'", "true"),
    ("interval '1h30m' = interval '90 minutes'", "true"),
    ("'5'::interval = interval '5 seconds'", "true"),
    ("-interval '1 day 02:30' = interval '-1 days -150 minutes'", "true"),
    ("-interval '1 day 2 hours' = interval '-1 days -2 hours'", "true"),
    (
        "timestamp '2024-01-31 00:00:00' + interval '1 day 02:30' = timestamp '2024-02-01 02:30:00'",
        "true",
    ),
    ("timestamp '2024-01-31 00:00:00' - '1-1'::interval = timestamp '2022-12-31 00:00:00'", "true"),
];

const SERIES: [(&str, &str); 22] = [
    (
        "(SELECT array_to_string(array_agg(g ORDER BY g), ',') FROM generate_series(1, 3) g)",
        "1,2,3",
    ),
    ("(SELECT sum(g) FROM generate_series(1, 10) AS g)", "55"),
    ("(SELECT sum(g.g) FROM generate_series(1, 10) AS g)", "55"),
    ("(SELECT sum(n) FROM generate_series(5, 1, -2) AS t(n))", "9"),
    ("(SELECT count(*) FROM generate_series(3, 1) AS g)", "0"),
    ("(SELECT sum(u) FROM unnest(ARRAY[1, 2, 4]) AS u)", "7"),
    ("(SELECT sum(x) FROM unnest(ARRAY[1, 2, 4]) AS u(x))", "7"),
    ("(SELECT sum(n) FROM (SELECT generate_series(1, 4) AS n) t)", "10"),
    ("(SELECT sum(generate_series) FROM (SELECT generate_series(1, 4)) t)", "10"),
    ("(SELECT max(n) FROM (SELECT 10 * generate_series(1, 4) AS n) t)", "40"),
    ("(SELECT sum(g) FROM generate_series(0, 1, 0.25) AS g)", "2.50"),
    (
        "(SELECT count(*) FROM generate_series(timestamp '2024-08-09', timestamp '2024-08-10', interval '1 hour') AS g)",
        "25",
    ),
    (
        "(SELECT count(*) FROM generate_series('2024-08-09'::timestamptz, '2024-08-10', '1 hour') AS g)",
        "25",
    ),
    (
        "(SELECT count(*) FROM generate_series('2024-08-09 09:30'::timestamptz, '2024-08-09 16:00', '00:15') AS g)",
        "27",
    ),
    (
        "(SELECT count(*) FROM generate_series(date '2024-08-01', date '2024-08-31', interval '1 day') AS g)",
        "31",
    ),
    (
        "(SELECT count(*) FROM generate_series(date '2024-08-01', '2024-08-02', '6 hours') AS g)",
        "5",
    ),
    (
        "(SELECT max(g) = timestamptz '2024-12-31' FROM generate_series('2024-01-31'::timestamptz, '2024-12-31', '11 months') AS g)",
        "true",
    ),
    (
        "(SELECT count(*) FROM generate_series((SELECT min(a) FROM (VALUES (2), (3)) AS t(a)), 7) AS g)",
        "6",
    ),
    (
        "(SELECT count(*) FROM generate_series((SELECT min(a) FROM (VALUES (timestamp '2024-08-09'), (timestamp '2024-08-11')) AS t(a)), timestamp '2024-08-12', '1 day') AS g)",
        "4",
    ),
    (
        "(SELECT array_to_string(array_agg(u || n ORDER BY n), ',') FROM unnest(ARRAY['b', 'a']) WITH ORDINALITY AS t(u, n))",
        "b1,a2",
    ),
    ("(SELECT sum(ordinality) FROM generate_series(5, 7) WITH ORDINALITY)", "6"),
    ("(SELECT sum(g * ordinality) FROM generate_series(5, 7) WITH ORDINALITY AS g)", "38"),
];

const TIMES: [(&str, &str); 12] = [
    (
        "date_trunc('minutes', timestamp '2024-08-09 13:45:30.5') = timestamp '2024-08-09 13:45:00'",
        "true",
    ),
    (
        "date_trunc('milliseconds', timestamp '2024-08-09 13:45:30.123456') = timestamp '2024-08-09 13:45:30.123'",
        "true",
    ),
    (
        "date_trunc('hours', timestamptz '2024-08-09 13:45:30+00') = timestamptz '2024-08-09 13:00:00+00'",
        "true",
    ),
    (
        "date_trunc('HOUR', timestamp '2024-08-09 13:45:30') = timestamp '2024-08-09 13:00:00'",
        "true",
    ),
    (
        "date_trunc('decade', timestamp '2024-08-09 13:45:30') = timestamp '2020-01-01 00:00:00'",
        "true",
    ),
    (
        "date_trunc('century', timestamptz '2000-08-09 13:45:30+00') = timestamptz '1901-01-01 00:00:00+00'",
        "true",
    ),
    (
        "date_trunc('millennium', timestamp '2024-08-09 13:45:30') = timestamp '2001-01-01 00:00:00'",
        "true",
    ),
    ("date_trunc('decades', null::timestamptz)", "null"),
    ("pg_typeof(date_trunc('decade', now()))", "timestamp with time zone"),
    (
        "(SELECT count(*) FROM (SELECT date_trunc('decade', a) AS d FROM (VALUES (timestamp '2019-12-31'), (timestamp '2020-01-01'), (timestamp '2029-12-31')) AS t(a) GROUP BY 1) AS g)",
        "2",
    ),
    ("date(timestamptz '2024-08-09 23:45:30+00')", "2024-08-09"),
    ("date('2024-08-09') = date '2024-08-09'", "true"),
];

const TYPES: [(&str, &str); 10] = [
    ("pg_typeof(1.5)", "numeric"),
    ("pg_typeof(true)", "boolean"),
    ("pg_typeof(1::bigint)", "bigint"),
    ("pg_typeof(2.5::float8)", "double precision"),
    ("pg_typeof('a'::text)", "text"),
    ("pg_typeof(date '2024-08-09')", "date"),
    ("pg_typeof(timestamp '2024-08-09 00:00:00')", "timestamp without time zone"),
    ("pg_typeof(now())", "timestamp with time zone"),
    ("pg_typeof(interval '1 day')", "interval"),
    ("pg_typeof(ARRAY['a'::text])", "text[]"),
];

const AGGREGATES: [(&str, &str); 21] = [
    ("(SELECT every(a > 1) FROM (VALUES (1.5), (2.5)) AS t(a))", "true"),
    ("(SELECT every(a > 2) FROM (VALUES (1.5), (2.5)) AS t(a))", "false"),
    (
        "(SELECT mode() WITHIN GROUP (ORDER BY a) FROM (VALUES (2.5), (1.5), (2.5), (4.0)) AS t(a))",
        "2.5",
    ),
    (
        "(SELECT mode() WITHIN GROUP (ORDER BY a) FROM (VALUES ('b'), ('a'), (null), (null)) AS t(a))",
        "a",
    ),
    (
        "(SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY a) FROM (VALUES (1.5), (2.5), (null), (4.0), (7)) AS t(a))",
        "2.5",
    ),
    (
        "(SELECT percentile_disc(0) WITHIN GROUP (ORDER BY a) FROM (VALUES (1.5), (2.5), (4.0)) AS t(a))",
        "1.5",
    ),
    (
        "(SELECT percentile_disc(1) WITHIN GROUP (ORDER BY a) FROM (VALUES (1.5), (2.5), (4.0)) AS t(a))",
        "4.0",
    ),
    (
        "(SELECT percentile_disc(0.25) WITHIN GROUP (ORDER BY a DESC) FROM (VALUES (1.5), (2.5), (4.0), (7)) AS t(a))",
        "7",
    ),
    (
        "(SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY a) FILTER (WHERE a > 2) FROM (VALUES (1.5), (2.5), (4.0)) AS t(a))",
        "2.5",
    ),
    (
        "(SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a) FROM (VALUES (1.5), (2.5), (4.0), (7.5)) AS t(a))",
        "3.25",
    ),
    (
        "(SELECT percentile_cont(0.123456789) WITHIN GROUP (ORDER BY a) FROM (VALUES (0), (1000000000)) AS t(a))",
        "123456789",
    ),
    (
        "(SELECT percentile_cont(0.375) WITHIN GROUP (ORDER BY a) FROM (VALUES (61800.25), (61900.25)) AS t(a))",
        "61837.75",
    ),
    (
        "(SELECT percentile_cont(0.25) WITHIN GROUP (ORDER BY a DESC) FROM (VALUES (1.5), (2.5), (null), (4.5)) AS t(a))",
        "3.5",
    ),
    (
        "(SELECT percentile_cont(1) WITHIN GROUP (ORDER BY a) FILTER (WHERE a < 4) FROM (VALUES (1.5), (2.5), (4.5)) AS t(a))",
        "2.5",
    ),
    (
        "(SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a) FROM (VALUES (1.5)) AS t(a) WHERE a > 2)",
        "null",
    ),
    (
        "(SELECT pg_typeof(percentile_cont(0.5) WITHIN GROUP (ORDER BY a)) FROM (VALUES (1.5)) AS t(a))",
        "double precision",
    ),
    ("(SELECT variance(a) FROM (VALUES (2), (4), (9)) AS t(a))", "13"),
    ("(SELECT bit_and(a) FROM (VALUES (6), (3)) AS t(a))", "2"),
    ("(SELECT bit_or(a) FROM (VALUES (6), (3)) AS t(a))", "7"),
    ("(SELECT bool_or(a > 2) FROM (VALUES (1.5), (2.5)) AS t(a))", "true"),
    ("(SELECT string_agg(a, '+' ORDER BY a) FROM (VALUES ('b'), ('a')) AS t(a))", "a+b"),
];

/// A number without the zeros that end it: how many of them are shown is told by a type in one engine,
/// and by a value in the other.
fn shortened(text: &str) -> &str {
    let is_number = text.bytes().all(|it| it.is_ascii_digit() || b"-.".contains(&it));
    match is_number && text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    let engine = live(&Job::new());
    for (expr, wanted) in cases {
        let found = texts_of(&engine, &format!("SELECT ({expr})::text AS x"));
        let found: Vec<&str> = found.iter().map(|it| shortened(it)).collect();
        assert_eq!(found, [shortened(wanted)], "{expr}");
    }
}

#[test]
fn numbers_are_computed_as_in_postgresql() {
    check(&NUMBERS);
}

#[test]
fn texts_are_made_as_in_postgresql() {
    check(&TEXTS);
}

#[test]
fn literals_are_read_as_in_postgresql() {
    check(&LITERALS);
}

#[test]
fn times_are_cut_off_as_in_postgresql() {
    check(&TIMES);
}

#[test]
fn series_have_the_rows_of_postgresql() {
    check(&SERIES);
}

#[test]
fn aggregates_are_those_of_postgresql() {
    check(&AGGREGATES);
}

#[test]
fn what_has_left_a_window_is_no_part_of_its_spread() {
    let engine = live(&Job::new());
    // Of one row there is no sample.
    for (function, wanted) in [
        ("stddev", "2"),
        ("stddev_samp", "2"),
        ("stddev_pop", "3"),
        ("var", "2"),
        ("var_samp", "2"),
        ("var_pop", "3"),
        ("variance", "2"),
    ] {
        let sql = format!(
            "SELECT count(*)::text AS x FROM (SELECT {function}(p) OVER (ORDER BY i ROWS 2 \
             PRECEDING) AS spread FROM (VALUES (1, 61000.5), (2, 61999.1), (3, 61500.0), \
             (4, 61500.0), (5, 61500.0), (6, 61500.0)) AS t(i, p)) AS s WHERE spread = 0"
        );
        assert_eq!(texts_of(&engine, &sql), [wanted], "{function}");
    }
}

#[test]
fn values_are_of_the_types_of_postgresql() {
    check(&TYPES);
}

#[test]
fn what_is_computed_of_decimals_is_a_decimal() {
    let engine = live(&Job::new());
    let price = "61837.630000000000::decimal(38,12)";
    for (expr, wanted) in [
        ("mod(@, 5)", "Decimal128(38, 12)"),
        ("div(@, 5)", "Decimal128(38, 0)"),
        ("sign(@)", "Decimal128(1, 0)"),
        ("trunc(@)", "Decimal128(38, 0)"),
        ("trunc(@, 2)", "Decimal128(38, 2)"),
        ("round(@, 2)", "Decimal128(38, 2)"),
        ("ceil(@)", "Decimal128(38, 12)"),
        ("floor(@)", "Decimal128(38, 12)"),
        ("abs(@)", "Decimal128(38, 12)"),
        ("mod(7, 2)", "Int64"),
        ("sign(7)", "Int64"),
        ("trunc(7)", "Int64"),
        ("trunc(7.5::float8)", "Float64"),
    ] {
        let sql = format!("SELECT arrow_typeof({}) AS x", expr.replace('@', price));
        assert_eq!(texts_of(&engine, &sql), [wanted], "{expr}");
    }
}

#[test]
fn what_cannot_be_computed_is_told() {
    let engine = live(&Job::new());
    for (expr, wanted) in [
        ("mod(7, 0)", "divide by zero"),
        ("mod(7.5, 0)", "divide by zero"),
        ("div(7, 0.0)", "divide by zero"),
        ("width_bucket(1, 5, 5, 3)", "lower bound"),
        ("width_bucket(1, 0, 5, 0)", "count"),
        ("format('%s')", "too few arguments"),
        ("format('%x', 1)", "unrecognized format"),
        ("'1 dag 02:30'::interval", "interval"),
        ("' x '::int", "cast"),
    ] {
        let refused = ask(&engine, Request::new(format!("SELECT {expr}"))).unwrap_err();
        assert!(refused.message().to_lowercase().contains(wanted), "{expr}: {refused}");
    }
}

#[test]
fn columns_have_the_names_of_postgresql() {
    let engine = live(&Job::new());
    for (sql, wanted) in [
        ("SELECT * FROM generate_series(1, 3) AS g", "g"),
        ("SELECT * FROM generate_series(1, 3) AS t(n)", "n"),
        ("SELECT * FROM unnest(ARRAY[1, 2]) AS u", "u"),
        ("SELECT generate_series(1, 3)", "generate_series"),
        ("SELECT every(true)", "every"),
        ("SELECT date(now())", "date"),
        ("SELECT array_remove(ARRAY[1, 2], 1)", "array_remove"),
        ("SELECT array_length(ARRAY[1, 2], 1)", "array_length"),
        (
            "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a) FROM (VALUES (1)) AS t(a)",
            "percentile_cont",
        ),
        ("SELECT mode() WITHIN GROUP (ORDER BY a) FROM (VALUES (1)) AS t(a)", "mode"),
    ] {
        let answer = answer(&engine, sql);
        assert_eq!(answer.schema.field(0).name(), wanted, "{sql}");
    }
    assert_eq!(answer(&engine, "SELECT generate_series(1, 3)").rows(), 3);
    let two = "SELECT generate_series(1, 3) AS a, generate_series(1, 2) AS b";
    assert_eq!(
        rows(&engine, two),
        [r#"{"a":1,"b":1}"#, r#"{"a":2,"b":2}"#, r#"{"a":3,"b":null}"#],
        "the shorter one is filled with nulls"
    );
}

#[test]
fn a_map_has_what_an_arrow_asks_for() {
    let mut job = Job::new();
    job.run(3, 10);
    let engine = live(&job);
    let of =
        |arrow: &str| rows(&engine, &format!("SELECT vendor_data {arrow} 'M' AS x FROM trades"));
    assert!(!of("->").is_empty());
    assert_eq!(of("->"), of("->>"));
}

#[test]
fn a_query_that_locks_rows_is_refused_as_one_that_writes() {
    let engine = live(&Job::new());
    for sql in [
        "SELECT * FROM trades FOR UPDATE",
        "SELECT * FROM trades FOR SHARE",
        "SELECT * FROM (SELECT * FROM trades FOR UPDATE) AS t",
        "EXPLAIN SELECT * FROM trades FOR UPDATE NOWAIT",
    ] {
        let refused = ask(&engine, Request::new(sql)).unwrap_err();
        assert_eq!(refused.code(), "not_a_query", "{sql}: {refused}");
        assert!(refused.message().contains("locks rows"), "{sql}: {refused}");
    }
}

#[test]
fn a_lateral_query_with_a_limit_is_told_what_to_write() {
    let mut job = Job::new();
    job.run(3, 10);
    let sql = "SELECT s.symbol, t.price FROM symbols s, LATERAL (SELECT * FROM trades t WHERE \
               t.symbol = s.symbol ORDER BY ts DESC LIMIT 1) t";
    let refused = ask(&live(&job), Request::new(sql)).unwrap_err();
    assert_eq!(refused.code(), "not_supported", "{refused}");
    assert!(refused.hint().is_some_and(|hint| hint.contains("row_number()")), "{refused}");
}
