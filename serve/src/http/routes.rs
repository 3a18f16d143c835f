//! All routes, one line each: the router, the OpenAPI document, the validation of parameters and
//! the hint of an unknown path are made of this table, so none of them can differ from another.

use arrow_schema::SchemaRef;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, RawPathParamsRejection};
use axum::extract::{Extension, RawPathParams, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use futures::future::BoxFuture;
use k2_sinks::Table;

use super::ask::{Ask, Raw};
use super::parameters::{Kind, Parameter};
use super::reply::CorrelationId;
use super::{
    ServerState, aggregations, bars, health, metrics, openapi, records, sql, state, stream,
};
use crate::error::Result;
use crate::schema;
use crate::views::bars::answered;

/// One route.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) parameters: &'static [Parameter],
    pub(super) answers: Answers,
    pub(super) handler: Handler,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
}

impl Method {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }

    pub(super) fn has_body(self) -> bool {
        self == Self::Post
    }
}

/// What a route answers with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answers {
    /// Rows with these columns.
    Rows(fn() -> SchemaRef),
    /// Rows with some of these columns.
    Fields(fn() -> SchemaRef),
    /// Rows with the columns of one of the two.
    Either(fn() -> SchemaRef, fn() -> SchemaRef),
    /// Rows whose columns the question decides.
    SomeRows,
    /// Something of its own, of this content type.
    Own(&'static str),
}

/// What answers a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Handler {
    /// Once its parameters are read.
    Asked(Asked),
    /// Reads its request by itself.
    Own(fn() -> MethodRouter<ServerState>),
}

pub(super) type Asked = fn(Ask) -> BoxFuture<'static, Result<Response>>;

const SYMBOL: Parameter =
    Parameter::new("symbol", Kind::Symbol, "Canonical (BTC-USDT) or the venue's own (BTCUSDT).");
const SYMBOLS: Parameter =
    Parameter::new("symbols", Kind::Symbols { max: 100 }, "Canonical or the venues' own.");
const VENUE: Parameter =
    Parameter::new("venue", Kind::Venue, "All venues where it is left out.").or("exchange");
const VENUES: Parameter =
    Parameter::new("venues", Kind::Venues { max: 20 }, "All where it is left out.").or("exchanges");
const START: Parameter = Parameter::new(
    "start_time",
    Kind::Time,
    "First moment of the window [start, end); a day is its midnight in UTC.",
);
const END: Parameter = Parameter::new(
    "end_time",
    Kind::Time,
    "First moment behind the window [start, end); a day is its midnight in UTC.",
);
const CURSOR: Parameter =
    Parameter::new("cursor", Kind::Cursor, "Of the page before, to go on with the same question.");
const AS_OF: Parameter = Parameter::new(
    "as_of",
    Kind::AsOf,
    "The as_of of an answer's meta: the same question brings the same rows again.",
);
const FORMAT: Parameter = Parameter::new("format", Kind::Format, "Otherwise what Accept names.");
pub(super) const ON_PARTIAL: Parameter = Parameter::new(
    "on_partial",
    Kind::OneOf(&["allow", "error"]),
    "With error an answer that is not complete is a 503; with allow the rows of memory alone are \
     one where the tables cannot be read.",
);
const TIMEFRAME: Parameter = Parameter::new("timeframe", Kind::Timeframe, "Length of a bar.");
const DATA_TYPE: Parameter =
    Parameter::new("data_type", Kind::OneOf(&["trades", "quotes"]), "Which records.");
const ANY_DATA_TYPE: Parameter =
    Parameter::new("data_type", Kind::OneOf(&["trades", "quotes", "depth"]), "Which records.");

const fn limit(default: i64, max: i64) -> Parameter {
    let kind = Kind::Integer { default: Some(default), min: 1, max };
    Parameter::new("limit", kind, "Rows of a page.")
}

const RECORDS: &[Parameter] =
    &[SYMBOL, VENUE, START, END, limit(100, 10_000), CURSOR, AS_OF, FORMAT, ON_PARTIAL];
const RECENT: &[Parameter] = &[
    SYMBOL.required(),
    VENUE,
    Parameter::new(
        "window_minutes",
        Kind::Integer { default: Some(15), min: 1, max: 60 },
        "Before the newest trade at the venues that are asked for.",
    ),
    limit(1_000, 10_000),
    CURSOR,
    AS_OF,
    FORMAT,
    ON_PARTIAL,
];
const BARS: &[Parameter] = &[
    TIMEFRAME.required(),
    SYMBOL.required(),
    VENUE,
    START,
    END,
    limit(1_000, 10_000),
    CURSOR,
    AS_OF,
    FORMAT,
    ON_PARTIAL,
];
const BAR_QUERY: &[Parameter] =
    &[TIMEFRAME.required(), SYMBOL.required(), VENUE, START, END, limit(1_000, 10_000)];
const BAR_BATCH: &[Parameter] = &[
    Parameter::new(
        "queries",
        Kind::Objects { of: BAR_QUERY, max: bars::QUERIES_MAX },
        "Answered together, as of one moment; a row says in query of which it is, from 0.",
    )
    .required(),
    AS_OF,
    FORMAT,
    ON_PARTIAL,
];
const SUMMARY_DAY: &[Parameter] = &[
    SYMBOL.required(),
    Parameter::new("date", Kind::Date, "A day in UTC.").required(),
    VENUE,
    AS_OF,
    FORMAT,
    ON_PARTIAL,
];
const SUMMARIES: &[Parameter] =
    &[SYMBOL.required(), VENUE, START, END, limit(30, 10_000), CURSOR, AS_OF, FORMAT, ON_PARTIAL];
const SYMBOL_LIST: &[Parameter] = &[VENUE, limit(10_000, 100_000), CURSOR, AS_OF, FORMAT];
const SNAPSHOTS: &[Parameter] = &[
    Parameter::new("table", Kind::OneOf(&["trades", "quotes", "rejects", "gaps"]), "Of which."),
    limit(10, 1_000),
    CURSOR,
    FORMAT,
];
const GAPS: &[Parameter] = &[
    SYMBOL,
    VENUE,
    ANY_DATA_TYPE,
    Parameter::new("state", Kind::OneOf(&["open", "healed"]), "Both where it is left out."),
    START,
    END,
    limit(100, 10_000),
    CURSOR,
    AS_OF,
    FORMAT,
];
const FEEDS: &[Parameter] = &[VENUE, ANY_DATA_TYPE, FORMAT];
const MIN_QUANTITY: Parameter = Parameter::new("min_quantity", Kind::Decimal, "Inclusive.");
const MAX_QUANTITY: Parameter = Parameter::new("max_quantity", Kind::Decimal, "Inclusive.");
const TRADE_QUERY: &[Parameter] = &[
    SYMBOLS,
    VENUES,
    START,
    END,
    Parameter::new("fields", Kind::SomeOf(records::TRADE_FIELDS), "Columns; all by default."),
    Parameter::new("sides", Kind::SomeOf(records::SIDES), "Of the aggressor; all by default."),
    Parameter::new("min_price", Kind::Decimal, "Inclusive."),
    Parameter::new("max_price", Kind::Decimal, "Inclusive."),
    MIN_QUANTITY,
    MAX_QUANTITY,
    limit(1_000, 100_000),
    CURSOR,
    AS_OF,
    FORMAT,
    ON_PARTIAL,
];
const QUOTE_QUERY: &[Parameter] = &[
    SYMBOLS,
    VENUES,
    START,
    END,
    Parameter::new("fields", Kind::SomeOf(records::QUOTE_FIELDS), "Columns; all by default."),
    Parameter::new("min_price", Kind::Decimal, "Of the bid, inclusive."),
    Parameter::new("max_price", Kind::Decimal, "Of the ask, inclusive."),
    Parameter::new("min_quantity", Kind::Decimal, "Of bid and ask, inclusive."),
    limit(1_000, 100_000),
    CURSOR,
    AS_OF,
    FORMAT,
    ON_PARTIAL,
];
const REPLAY: &[Parameter] = &[
    DATA_TYPE.required(),
    SYMBOL,
    VENUE,
    START.required(),
    END.required(),
    limit(1_000, 100_000).or("batch_size"),
    CURSOR,
    AS_OF,
    FORMAT,
    ON_PARTIAL,
];
const SNAPSHOT_QUERY: &[Parameter] = &[
    Parameter::new(
        "id",
        Kind::Integer { default: None, min: 0, max: i64::MAX },
        "Of a snapshot, as /v1/snapshots lists them.",
    )
    .required(),
    DATA_TYPE.required(),
    SYMBOL,
    VENUE,
    START,
    END,
    limit(1_000, 100_000),
    CURSOR,
    FORMAT,
    ON_PARTIAL,
];
const AGGREGATIONS: &[Parameter] = &[
    Parameter::new("symbols", Kind::Symbols { max: 50 }, "Canonical or the venues' own.")
        .required(),
    VENUES,
    Parameter::new(
        "metrics",
        Kind::SomeOf(aggregations::METRICS),
        "vwap, twap (each price weighs as long as it stood in its interval), ohlcv and \
         trade_count come together; volume_profile comes alone.",
    )
    .required(),
    Parameter::new("interval", Kind::Interval, "Aligned to UTC.").required(),
    Parameter::new("price_step", Kind::Decimal, "Width of a level of the volume profile."),
    START.required(),
    END.required(),
    limit(1_000, 100_000),
    CURSOR,
    AS_OF,
    FORMAT,
    ON_PARTIAL,
];

/// Between commas, each of at most as many characters as a name may have.
const STREAM_NAMES: Kind = Kind::Shaped("^[^,]{1,64}(,[^,]{1,64})*$");
const STREAM_SYMBOL: Parameter = Parameter::new(
    "symbol",
    STREAM_NAMES,
    "Repeated, or separated by commas; canonical or the venues' own. All where it is left out.",
);
const STREAM_VENUE: Parameter =
    Parameter::new("venue", STREAM_NAMES, "Repeated, or separated by commas.").or("exchange");
const ON_SLOW: Parameter = Parameter::new(
    "on_slow",
    Kind::OneOf(&["conflate", "skip"]),
    "conflate: the newest of each symbol at the rate; skip: every row, and what a slow reader \
     missed is counted. Trades skip and bars conflate by default.",
);
const RATE: Parameter = Parameter::new(
    "rate",
    Kind::Number { min: stream::RATE_MIN, max: stream::RATE_MAX },
    "Updates a second of a symbol when conflated.",
);
const FIRST_ROWS: Parameter = Parameter::new(
    "snapshot",
    Kind::Integer { default: None, min: 0, max: stream::SNAPSHOT_MAX as i64 },
    "Rows of each symbol that come first.",
);
const EVENT_ID: Kind = Kind::Shaped("^[0-9a-f]{8}(-(0|[1-9][0-9]{0,18})){2}$");
const RESUME: Parameter =
    Parameter::new("resume", EVENT_ID, "The id of the last event, in place of Last-Event-ID.");
const STREAM: &[Parameter] = &[STREAM_SYMBOL, STREAM_VENUE, ON_SLOW, RATE, FIRST_ROWS, RESUME];
const BAR_STREAM: &[Parameter] =
    &[TIMEFRAME.required(), STREAM_SYMBOL, STREAM_VENUE, ON_SLOW, RATE, FIRST_ROWS, RESUME];

fn trades() -> SchemaRef {
    schema::of_table(Table::Trades)
}

fn quotes() -> SchemaRef {
    schema::of_table(Table::Quotes)
}

macro_rules! asked {
    ($handler:path) => {
        Handler::Asked(|ask| Box::pin($handler(ask)))
    };
}

macro_rules! route {
    ($method:ident $path:literal, $parameters:expr, $answers:expr, $handler:expr, $summary:literal) => {
        Route {
            method: Method::$method,
            path: $path,
            summary: $summary,
            parameters: $parameters,
            answers: $answers,
            handler: $handler,
        }
    };
}

const JSON: Answers = Answers::Own("application/json");
const TEXT: Answers = Answers::Own("text/plain");
const HTML: Answers = Answers::Own("text/html");
const EVENTS: Answers = Answers::Own("text/event-stream");
use Answers::{Either, Fields, Rows, SomeRows};

#[rustfmt::skip]
pub(super) static ROUTES: &[Route] = &[
    route!(Get "/", &[], HTML, Handler::Own(|| get(openapi::home)), "Where to go on from here"),
    route!(Get "/health", &[], JSON, Handler::Own(|| get(health::health)), "Liveness, and each dependency"),
    route!(Get "/metrics", &[], TEXT, Handler::Own(|| get(metrics::metrics)), "Counters for Prometheus"),
    route!(Get "/openapi.json", &[], JSON, Handler::Own(|| get(openapi::document)), "This document"),
    route!(Get "/docs", &[], HTML, Handler::Own(|| get(openapi::page)), "This document, for people"),
    route!(Get "/v1/trades", RECORDS, Rows(trades), asked!(records::trades), "Trades, newest first"),
    route!(Get "/v1/quotes", RECORDS, Rows(quotes), asked!(records::quotes), "Quotes, newest first"),
    route!(Get "/v1/trades/recent", RECENT, Rows(trades), asked!(records::recent), "The last minutes of a symbol"),
    route!(Post "/v1/trades/query", TRADE_QUERY, Fields(trades), asked!(records::trade_query), "Trades of many symbols, newest first"),
    route!(Post "/v1/quotes/query", QUOTE_QUERY, Fields(quotes), asked!(records::quote_query), "Quotes of many symbols, newest first"),
    route!(Post "/v1/replay", REPLAY, Either(trades, quotes), asked!(records::replay), "Records in order of time and sequence, as of one moment"),
    route!(Get "/v1/ohlcv/{timeframe}", BARS, Rows(answered), asked!(bars::bars), "Bars, newest first"),
    route!(Post "/v1/ohlcv/batch", BAR_BATCH, Rows(bars::batch_schema), asked!(bars::batch), "Bars of several questions, as of one moment"),
    route!(Get "/v1/ohlcv/health", &[FORMAT], Rows(bars::health_schema), asked!(bars::health), "Whether bars keep up with trades"),
    route!(Get "/v1/summary/{symbol}", SUMMARIES, Rows(answered), asked!(bars::summaries), "Days of a symbol, newest first"),
    route!(Get "/v1/summary/{symbol}/{date}", SUMMARY_DAY, Rows(answered), asked!(bars::summary), "One day of a symbol"),
    route!(Post "/v1/aggregations", AGGREGATIONS, SomeRows, asked!(aggregations::aggregations), "Prices and volumes by interval"),
    route!(Get "/v1/symbols", SYMBOL_LIST, Rows(state::symbols_schema), asked!(state::symbols), "Each symbol that has records"),
    route!(Get "/v1/stats", &[FORMAT], Rows(state::stats_schema), asked!(state::stats), "Rows and files of each table"),
    route!(Get "/v1/snapshots", SNAPSHOTS, Rows(state::snapshots_schema), asked!(state::snapshots), "What was committed, newest first"),
    route!(Post "/v1/snapshots/{id}/query", SNAPSHOT_QUERY, Either(trades, quotes), asked!(records::snapshot_query), "Records as they were at a snapshot, newest first"),
    route!(Get "/v1/gaps", GAPS, Rows(state::gaps_schema), asked!(state::gaps), "Messages that never came or came late, newest first"),
    route!(Get "/v1/feeds", FEEDS, Rows(state::feeds_schema), asked!(state::feeds), "How each feed is doing"),
    route!(Get "/v1/stream/trades", STREAM, EVENTS, Handler::Own(|| get(stream::trades)), "Trades as they come; as WebSocket on an upgrade"),
    route!(Get "/v1/stream/ohlcv/{timeframe}", BAR_STREAM, EVENTS, Handler::Own(|| get(stream::bars)), "Bars as they change; as WebSocket on an upgrade"),
    route!(Post "/v1/sql", sql::PARAMETERS, SomeRows, Handler::Own(|| post(sql::sql)), "One SELECT"),
];

/// A router of all routes.
pub(super) fn router() -> Router<ServerState> {
    ROUTES.iter().fold(Router::new(), |router, route| {
        let handler = match route.handler {
            Handler::Own(own) => own(),
            Handler::Asked(handler) => asked(route, handler),
        };
        router.route(route.path, handler)
    })
}

fn asked(route: &'static Route, handler: Asked) -> MethodRouter<ServerState> {
    let answer = move |State(state): State<ServerState>,
                       Extension(CorrelationId(id)): Extension<CorrelationId>,
                       path: Result<RawPathParams, RawPathParamsRejection>,
                       uri: Uri,
                       headers: HeaderMap,
                       body: Result<Bytes, BytesRejection>| {
        super::ask::answer(state, route, handler, id, Raw { path, uri, headers, body })
    };
    match route.method {
        Method::Get => get(answer),
        Method::Post => post(answer),
    }
}

/// What the route of `path` is asked with, as it stands in the table.
pub(super) fn methods_of(path: &str) -> String {
    let methods = ROUTES.iter().filter(|route| route.path == path);
    methods.map(|route| route.method.as_str()).collect::<Vec<_>>().join(" or ")
}

/// What an unknown path could have been.
pub(super) fn hint() -> String {
    let paths = ROUTES.iter().map(|route| format!("{} {}", route.method.as_str(), route.path));
    format!("paths are {}", paths.collect::<Vec<_>>().join(", "))
}
