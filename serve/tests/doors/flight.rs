//! Arrow Flight SQL, through the client of its own library: rows, moments, keys, and what is refused.

use std::net::SocketAddr;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch};
use arrow_flight::decode::DecodedPayload;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{
    ActionBeginTransactionRequest, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any,
    CommandPreparedStatementQuery, CommandStatementQuery, CommandStatementUpdate,
    DoPutPreparedStatementResult, ProstMessageExt, TicketStatementQuery,
};
use arrow_flight::{Action, FlightClient, FlightDescriptor, FlightInfo, Ticket};
use arrow_schema::Schema;
use futures::{TryStreamExt, stream};
use k2_serve::access::Policy;
use k2_serve::{Access, Answer, FlightConfig, FlightServer, Secret};
use prost::Message;
use serde_json::Value;
use tonic::transport::Endpoint;
use tonic::{Code, Status};

use super::keys::{key_in, post_sql};
use super::{Doors, ENDLESS, SIGNED_BY, job, open, wait_for_load};
use crate::support::Job;
use crate::{VIEWS, all_of, lines, live, offline};

type Result<T, E = Status> = std::result::Result<T, E>;

/// A client of Flight.
pub struct Flights {
    runtime: tokio::runtime::Runtime,
    pub client: FlightClient,
}

/// What a ticket was exchanged for.
#[derive(Debug)]
pub struct Got {
    pub schema: Schema,
    pub batches: Vec<RecordBatch>,
    pub meta: Value,
}

pub fn status_of(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        other => panic!("{other}"),
    }
}

fn command(message: &impl ProstMessageExt) -> FlightDescriptor {
    FlightDescriptor::new_cmd(message.as_any().encode_to_vec())
}

pub fn query(sql: &str) -> FlightDescriptor {
    command(&CommandStatementQuery { query: sql.to_owned(), transaction_id: None })
}

impl Flights {
    pub fn at(doors: &Doors, key: Option<&str>) -> Self {
        Self::to(doors.flight.address(), key)
    }

    pub fn to(address: SocketAddr, key: Option<&str>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let channel = {
            let _inside = runtime.enter();
            endpoint.connect_lazy()
        };
        let mut client = FlightClient::new(channel);
        if let Some(key) = key {
            client.add_header("authorization", &format!("Bearer {key}")).unwrap();
        }
        Self { runtime, client }
    }

    pub fn info(&mut self, descriptor: FlightDescriptor) -> Result<FlightInfo> {
        let info = self.client.get_flight_info(descriptor);
        self.runtime.block_on(info).map_err(status_of)
    }

    pub fn rows(&mut self, ticket: Ticket) -> Result<Got> {
        let client = &mut self.client;
        let rows = async {
            let mut decoder = client.do_get(ticket).await?.into_inner();
            let (mut schema, mut batches, mut meta) = (None, Vec::new(), Value::Null);
            while let Some(decoded) = decoder.try_next().await? {
                let told = decoded.app_metadata();
                match decoded.payload {
                    DecodedPayload::Schema(told) => schema = Some(told.as_ref().clone()),
                    DecodedPayload::RecordBatch(batch) => batches.push(batch),
                    DecodedPayload::None => panic!("a message of nothing"),
                }
                if !told.is_empty() {
                    meta = serde_json::from_slice(&told).unwrap();
                }
            }
            Ok(Got { schema: schema.expect("columns come first"), batches, meta })
        };
        self.runtime.block_on(rows).map_err(status_of)
    }

    pub fn ask(&mut self, sql: &str) -> Result<Got> {
        let info = self.info(query(sql))?;
        self.rows(ticket_of(&info))
    }

    pub fn act(&mut self, action: Action) -> Result<Vec<bytes::Bytes>> {
        let client = &mut self.client;
        let acted = async { client.do_action(action).await?.try_collect().await };
        self.runtime.block_on(acted).map_err(status_of)
    }

    pub fn prepare(&mut self, sql: &str) -> Result<ActionCreatePreparedStatementResult> {
        let wanted =
            ActionCreatePreparedStatementRequest { query: sql.to_owned(), transaction_id: None };
        let body = wanted.as_any().encode_to_vec();
        let results = self.act(Action::new("CreatePreparedStatement", body))?;
        Ok(Any::decode(results[0].clone()).unwrap().unpack().unwrap().unwrap())
    }

    /// Puts one batch under `descriptor`.
    fn put(&mut self, descriptor: FlightDescriptor, batch: RecordBatch) -> Result<bytes::Bytes> {
        let messages = FlightDataEncoderBuilder::new()
            .with_flight_descriptor(Some(descriptor))
            .build(stream::iter([Ok(batch)]));
        let client = &mut self.client;
        let put = async { client.do_put(messages).await?.try_next().await };
        let put = self.runtime.block_on(put).map_err(status_of)?;
        Ok(put.expect("an answer").app_metadata)
    }
}

pub fn ticket_of(info: &FlightInfo) -> Ticket {
    info.endpoint[0].ticket.clone().unwrap()
}

/// The handle in a ticket.
fn handle_of(ticket: &Ticket) -> Vec<u8> {
    let any = Any::decode(ticket.ticket.clone()).unwrap();
    any.unpack::<TicketStatementQuery>().unwrap().unwrap().statement_handle.to_vec()
}

fn ticket_with(handle: Vec<u8>) -> Ticket {
    let ticket = TicketStatementQuery { statement_handle: handle.into() };
    Ticket::new(ticket.as_any().encode_to_vec())
}

/// The rows that came, as lines.
fn lines_of(got: &Got, answer: &Answer) -> Vec<String> {
    lines(&Answer { batches: got.batches.clone(), ..answer.clone() })
}

#[test]
fn every_view_has_the_columns_that_were_told_and_the_rows_of_every_door() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut flights = Flights::at(&doors, None);
    let questions = VIEWS.map(all_of).into_iter().chain([
        "SELECT symbol, count(*), sum(quantity), avg(price) FROM trades GROUP BY symbol".to_owned(),
        "SELECT conditions, vendor_data, ts AT TIME ZONE 'UTC', NULL FROM trades".to_owned(),
        "SELECT arrow_cast(symbol, 'Dictionary(Int32, Utf8)') AS d, price FROM trades".to_owned(),
        "SELECT a.symbol, b.price FROM symbols a LEFT JOIN trades b ON a.symbol = b.symbol AND \
         b.sequence < 9"
            .to_owned(),
        super::flight_drivers::VALUES.to_owned(),
        "EXPLAIN SELECT 1".to_owned(),
        "SHOW TABLES".to_owned(),
        "SELECT * FROM trades WHERE false".to_owned(),
    ]);
    for sql in questions {
        let info = flights.info(query(&sql)).unwrap();
        let got = flights.rows(ticket_of(&info)).unwrap();
        assert_eq!(got.schema, info.try_decode_schema().unwrap(), "{sql}");
        let answer = crate::answer(&engine, &sql);
        if !sql.starts_with("EXPLAIN") {
            assert_eq!(lines_of(&got, &answer), lines(&answer), "{sql}");
        }
        assert!(got.batches.iter().all(|batch| batch.schema_ref().as_ref() == &got.schema));
        let last = got.batches.last().unwrap();
        assert!(last.num_rows() == 0 && got.meta["complete"].is_boolean(), "{sql}");
    }
}

#[test]
fn rows_are_of_the_moment_at_which_their_columns_were_told() {
    let (mut job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut flights = Flights::at(&doors, None);
    // What has no history is answered as well: the moment itself is still held.
    let before: Vec<(String, FlightInfo, Answer)> = VIEWS
        .map(all_of)
        .into_iter()
        .map(|sql| {
            let info = flights.info(query(&sql)).unwrap();
            let answer = crate::answer(&engine, &sql);
            (sql, info, answer)
        })
        .collect();
    job.run(10, 50);
    job.commit();
    job.run(5, 50);
    for (sql, info, answer) in &before {
        let got = flights.rows(ticket_of(info)).unwrap();
        assert_eq!(lines_of(&got, answer), lines(answer), "{sql}");
        let told: Value = serde_json::from_slice(&info.app_metadata).unwrap();
        assert_eq!(got.meta["as_of"], told["as_of"], "{sql}");
        assert!(lines(&crate::answer(&engine, sql)) != lines(answer) || sql.contains("snapshots"));
    }
    // Another server of the same job, which holds nothing, takes the tickets too.
    let again = open(&live(&job), &Access::open());
    let mut flights = Flights::at(&again, None);
    for (sql, info, answer) in &before {
        let got = flights.rows(ticket_of(info));
        match sql.contains("feed_health") {
            true => assert!(got.unwrap_err().message().starts_with("no_history: ")),
            false => assert_eq!(lines_of(&got.unwrap(), answer), lines(answer), "{sql}"),
        }
    }
    job.commit();
    let (sql, info, answer) = &before[0];
    let cold = open(&offline(&job), &Access::open());
    let got = Flights::at(&cold, None).rows(ticket_of(info)).unwrap();
    assert_eq!(lines_of(&got, answer), lines(answer), "{sql}");
}

#[test]
fn tickets_that_were_forged_cut_or_given_out_elsewhere_are_refused() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut flights = Flights::at(&doors, None);
    let good = ticket_of(&flights.info(query("SELECT 1")).unwrap());
    let handle = handle_of(&good);
    let mut refused = |ticket: Ticket| {
        let status = flights.rows(ticket).err().unwrap();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().starts_with("invalid_"), "{status}");
    };
    for at in (0..handle.len()).step_by(7) {
        let mut forged = handle.clone();
        forged[at] ^= 0x10;
        refused(ticket_with(forged));
        refused(ticket_with(handle[..at].to_vec()));
    }
    for at in (0..good.ticket.len()).step_by(11) {
        refused(Ticket::new(good.ticket.slice(..at)));
    }
    refused(Ticket::new("SELECT 1"));
    let elsewhere = Secret::new([8; Secret::BYTES]);
    let (listener, access) = (std::net::TcpListener::bind("127.0.0.1:0"), Access::open());
    let config = FlightConfig::default();
    let other = FlightServer::start(listener.unwrap(), engine, access, elsewhere, config).unwrap();
    let status = Flights::to(other.address(), None).rows(good).err().unwrap();
    assert!(status.message().contains("another server"), "{status}");
}

#[test]
fn prepared_statements_take_parameters_and_outlive_their_server() {
    let (job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut flights = Flights::at(&doors, None);
    let prepared = flights.prepare("SELECT count(*) AS n FROM trades WHERE sequence > ?").unwrap();
    assert!(!prepared.dataset_schema.is_empty() && !prepared.parameter_schema.is_empty());
    let statement = |handle: &bytes::Bytes| {
        command(&CommandPreparedStatementQuery { prepared_statement_handle: handle.clone() })
    };
    let unbound = flights.info(statement(&prepared.prepared_statement_handle)).unwrap_err();
    assert!(unbound.message().starts_with("invalid_parameters: "), "{unbound}");
    let batch = |values: Vec<i64>| {
        RecordBatch::try_from_iter([("$1", std::sync::Arc::new(Int64Array::from(values)) as _)])
    };
    let descriptor = statement(&prepared.prepared_statement_handle);
    let many = flights.put(descriptor.clone(), batch(vec![1, 2]).unwrap()).unwrap_err();
    assert!(many.message().contains("more than one row"), "{many}");
    let bound = flights.put(descriptor, batch(vec![150]).unwrap()).unwrap();
    let bound = DoPutPreparedStatementResult::decode(bound).unwrap();
    let bound = bound.prepared_statement_handle.unwrap();
    let expected = crate::rows(&engine, "SELECT count(*) AS n FROM trades WHERE sequence > 150");
    let answer = crate::answer(&engine, "SELECT count(*) AS n FROM trades");
    let again = open(&live(&job), &Access::open());
    for doors in [&doors, &again] {
        let mut flights = Flights::at(doors, None);
        let info = flights.info(statement(&bound)).unwrap();
        assert_eq!(lines_of(&flights.rows(ticket_of(&info)).unwrap(), &answer), expected);
    }
    let mut forged = bound.to_vec();
    forged[9] ^= 1;
    let status = flights.info(statement(&forged.into())).unwrap_err();
    assert!(status.message().starts_with("invalid_statement: "), "{status}");
    let close = |handle| {
        let closed = ActionClosePreparedStatementRequest { prepared_statement_handle: handle };
        Action::new("ClosePreparedStatement", closed.as_any().encode_to_vec())
    };
    assert!(flights.act(close(bound)).unwrap().is_empty());
    assert!(flights.act(close(bytes::Bytes::from_static(b"x"))).is_err());
}

#[test]
fn a_closed_door_wants_a_key_with_its_scope_and_keeps_to_its_rate() {
    let job = Job::new();
    let directory = job.dir.path();
    let (sql, read) = (key_in(directory, "sql", None), key_in(directory, "read", None));
    let rated = key_in(directory, "sql", Some("4/h"));
    let doors = open(&live(&job), &Access::of(directory, None, Policy::Keys));
    let code = |key: Option<&str>| {
        let asked = Flights::at(&doors, key).ask("SELECT 1");
        asked.err().map(|status| (status.code(), status.message().to_owned()))
    };
    assert_eq!(code(Some(sql.text())), None);
    let refused = |key: Option<&str>, expected: Code, text: &str| {
        let (code, message) = code(key).unwrap();
        assert!(code == expected && message.contains(text), "{code} {message}");
    };
    refused(None, Code::Unauthenticated, "no_key: ");
    refused(Some("k2_wrong"), Code::Unauthenticated, "unknown_key: ");
    refused(Some(read.text()), Code::PermissionDenied, "out_of_scope: ");
    let mut flights = Flights::at(&doors, Some(rated.text()));
    flights.ask("SELECT 1").unwrap();
    // All doors take from one rate.
    let bearer = format!("authorization: Bearer {}", rated.text());
    assert_eq!(post_sql(&doors, "SELECT 1", &[&bearer]).0, 200);
    flights.info(query("SELECT 1")).unwrap();
    let status = flights.info(query("SELECT 1")).unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("ask again in"), "{status}");
    let wait: u64 =
        status.metadata().get("retry-after").unwrap().to_str().unwrap().parse().unwrap();
    assert!((890..=900).contains(&wait), "{wait}");
    assert_eq!(post_sql(&doors, "SELECT 1", &[&bearer]).0, 429);
    // Without a key nothing is told, and nothing is done.
    let mut nobody = Flights::at(&doors, None);
    assert_eq!(nobody.prepare("SELECT 1").unwrap_err().code(), Code::Unauthenticated);
    let put = nobody.put(query("SELECT 1"), RecordBatch::new_empty(Schema::empty().into()));
    assert_eq!(put.unwrap_err().code(), Code::Unauthenticated);
    let ticket = ticket_of(&Flights::at(&doors, Some(sql.text())).info(query("SELECT 1")).unwrap());
    assert_eq!(nobody.rows(ticket).err().unwrap().code(), Code::Unauthenticated);
    let listed = nobody.runtime.block_on(nobody.client.list_actions()).err();
    assert_eq!(status_of(listed.unwrap()).code(), Code::Unauthenticated);
}

#[test]
fn each_answer_has_the_id_of_its_call() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut flights = Flights::at(&doors, None);
    flights.client.add_header("x-correlation-id", "mine-7").unwrap();
    let got = flights.ask("SELECT 1").unwrap();
    assert_eq!(got.meta["correlation_id"], "mine-7");
    let status = flights.ask("SELECT wrong").err().unwrap();
    assert_eq!(status.metadata().get("x-correlation-id").unwrap(), "mine-7");
    assert!(!status.details().is_empty());
    let told = flights.runtime.block_on(async {
        let request = tonic::Request::new(arrow_flight::Empty {});
        flights.client.inner_mut().list_actions(request).await.unwrap().metadata().clone()
    });
    assert_eq!(told.get("x-correlation-id").unwrap().len(), 36, "a new one where none is given");
}

#[test]
fn what_writes_or_begins_something_is_refused_by_its_name() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut flights = Flights::at(&doors, None);
    let update =
        CommandStatementUpdate { query: "DELETE FROM trades".into(), transaction_id: None };
    let empty = || RecordBatch::new_empty(Schema::empty().into());
    for descriptor in [command(&update), query("SELECT 1")] {
        let status = flights.put(descriptor, empty()).unwrap_err();
        assert!(status.message().starts_with("read_only: "), "{status}");
        assert_eq!(status.code(), Code::Unimplemented);
    }
    let begin = ActionBeginTransactionRequest {}.as_any().encode_to_vec();
    for (action, text) in [
        (Action::new("BeginTransaction", begin), "transaction"),
        (Action::new("CreatePreparedSubstraitPlan", ""), "Substrait"),
        (Action::new("CancelQuery", ""), "DoGet"),
        (Action::new("Dance", ""), "Dance"),
    ] {
        let status = flights.act(action).unwrap_err();
        assert!(
            status.code() == Code::Unimplemented && status.message().contains(text),
            "{status}"
        );
    }
    let broken = flights.act(Action::new("CreatePreparedStatement", "x")).unwrap_err();
    assert!(broken.message().starts_with("invalid_command: "), "{broken}");
    let within = CommandStatementQuery {
        query: "SELECT 1".into(),
        transaction_id: Some(bytes::Bytes::from_static(b"x")),
    };
    assert_eq!(flights.info(command(&within)).unwrap_err().code(), Code::Unimplemented);
}

#[test]
fn a_query_stops_when_its_client_leaves() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut flights = Flights::at(&doors, None);
    let ticket = ticket_of(&flights.info(query(ENDLESS)).unwrap());
    let Flights { runtime, mut client } = flights;
    let asked = runtime.spawn(async move { client.do_get(ticket).await.map(|_| ()) });
    wait_for_load(&doors, 1);
    asked.abort();
    wait_for_load(&doors, 0);
    drop(runtime);
    assert!(Flights::at(&doors, None).ask("SELECT 1").is_ok());
}

#[test]
fn there_are_only_so_many_connections() {
    let (_job, engine) = job();
    let config = FlightConfig { connections_max: 1, ..FlightConfig::default() };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let door = FlightServer::start(listener, engine, Access::open(), SIGNED_BY, config).unwrap();
    let mut first = Flights::to(door.address(), None);
    first.ask("SELECT 1").unwrap();
    let mut second = Flights::to(door.address(), None);
    let waiting = second.client.get_flight_info(query("SELECT 1"));
    let waited = second
        .runtime
        .block_on(async { tokio::time::timeout(Duration::from_millis(300), waiting).await });
    assert!(waited.is_err(), "it waits for a place");
    drop(first);
    second.ask("SELECT 1").unwrap();
}

/// The rows that all queries have made so far.
fn rows_made(doors: &Doors) -> u64 {
    let metrics = super::keys::get(doors, "/metrics", &[]).2;
    let line = metrics.lines().find_map(|line| line.strip_prefix("k2_query_rows_total "));
    line.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
}

#[test]
fn an_answer_of_any_length_comes_whole_and_waits_for_its_reader() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut flights = Flights::at(&doors, None);
    // More rows than other doors answer with.
    let got = flights.ask("SELECT value FROM generate_series(1, 1500000) AS t (value)").unwrap();
    assert_eq!(got.batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1_500_000);
    assert!(got.meta["as_of"].is_object());
    let made = rows_made(&doors);
    let endless = "SELECT value FROM generate_series(1, 1000000000) AS t (value)";
    let ticket = ticket_of(&flights.info(query(endless)).unwrap());
    let client = &mut flights.client;
    let mut rows = flights.runtime.block_on(async { client.do_get(ticket).await.unwrap() });
    let first = flights.runtime.block_on(rows.try_next()).unwrap().unwrap();
    assert_eq!(first.column(0).as_primitive::<Int64Type>().value(0), 1);
    let mut last = rows_made(&doors);
    loop {
        std::thread::sleep(Duration::from_millis(300));
        let now = rows_made(&doors);
        if now == last {
            break;
        }
        last = now;
    }
    // What is ahead of the reader, in its window, and in the buffers of the connection.
    assert!(last - made < 4_000_000, "{} rows were made for nobody", last - made);
    wait_for_load(&doors, 1);
    drop(rows);
    wait_for_load(&doors, 0);
}

#[test]
fn an_answer_that_fails_on_its_way_says_why_and_is_no_whole_one() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut flights = Flights::at(&doors, None);
    let failing = "SELECT 1 / (value - 100000) AS x FROM generate_series(1, 200000) AS t (value)";
    let status = flights.ask(failing).unwrap_err();
    assert!(status.message().starts_with("cannot_compute: "), "{status}");
    assert!(status.metadata().contains_key("x-correlation-id"));
}
