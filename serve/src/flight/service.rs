//! The calls of Flight, one by one. Each says whose it is before anything else is done for it, and
//! each answer, right or wrong, has the id of its call.

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, Any, Command,
    ProstMessageExt,
};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use serde_json::json;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::asked::{self, Asked};
use super::browse;
use super::caller::{Caller, correlation_id_of};
use super::prepared::{self, Prepared};
use super::refusal::{Refusal, tell};
use super::rows::{self, Rows, sent_schema};
use super::ticket::Question;
use crate::access::Access;
use crate::catalog::table_names;
use crate::correlation;
use crate::describe::Described;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::request;
use crate::secret::Secret;

const PREPARE: &str = "CreatePreparedStatement";
const CLOSE: &str = "ClosePreparedStatement";
/// Messages that parameters may come in: their columns, dictionaries, and one row.
const PARAMETER_MESSAGES_MAX: usize = 64;

/// What all calls share.
pub(super) struct Service {
    engine: Engine,
    access: Access,
    secret: Secret,
}

type Answered<T> = Result<Response<T>, Status>;
type Stream<T> = BoxStream<'static, Result<T, Status>>;

impl Service {
    pub(super) fn new(engine: Engine, access: Access, secret: Secret) -> Self {
        Self { engine, access, secret }
    }

    fn admit(&self, headers: &MetadataMap) -> Result<(), Refusal> {
        Caller::admitted(&self.access, headers).map(|_caller| ())
    }

    /// Plans a question now, and gives out a ticket for its rows as of now.
    async fn planned(&self, sql: String) -> Result<FlightInfo> {
        let Described { schema, as_of, .. } = self.engine.describe_and_hold(&sql).await?;
        let told = json!({ "as_of": as_of }).to_string();
        let columns = prepared::packed(&sent_schema(schema))?;
        let question = Question { sql, as_of, columns: columns.to_vec() };
        Ok(flight(columns, question.ticket(&self.secret)?).with_app_metadata(told))
    }

    async fn info(&self, descriptor: &FlightDescriptor) -> Result<FlightInfo> {
        let info = match asked::of_descriptor(descriptor)? {
            Asked::Question(sql) => self.planned(sql).await?,
            Asked::Prepared(handle) => {
                self.planned(Prepared::open(&handle, &self.secret)?.question()?).await?
            }
            Asked::About(command) => {
                let columns = prepared::packed(&*browse::schema(&command)?)?;
                flight(columns, Ticket::new(descriptor.cmd.clone()))
            }
        };
        Ok(info.with_descriptor(descriptor.clone()))
    }

    async fn schema(&self, descriptor: &FlightDescriptor) -> Result<SchemaRef> {
        Ok(match asked::of_descriptor(descriptor)? {
            Asked::Question(sql) => sent_schema(self.engine.describe(&sql).await?.schema),
            Asked::Prepared(handle) => {
                let prepared = Prepared::open(&handle, &self.secret)?;
                sent_schema(prepared.describe(&self.engine).await?.schema)
            }
            Asked::About(command) => browse::schema(&command)?,
        })
    }

    async fn rows(&self, ticket: &Ticket, correlation_id: &str) -> Result<Rows> {
        let correlation_id = correlation_id.to_owned();
        match asked::packed(&ticket.ticket)? {
            Some(Command::TicketStatementQuery(ticket)) => {
                let Question { sql, as_of, columns } = Question::open(&ticket, &self.secret)?;
                let columns = prepared::unpacked(columns)?;
                let id = correlation_id.clone();
                let request = request::Request { correlation_id: id, ..request::Request::new(sql) };
                let answer = self.engine.stream(request.as_of(as_of)).await?;
                Ok(rows::of_answer(answer, columns, correlation_id))
            }
            Some(command) => {
                Ok(rows::of_batch(browse::answer(command, &self.engine).await?, correlation_id))
            }
            None => {
                Err(Error::bad_request("invalid_ticket", "read the ticket: it is none of ours")
                    .with_hint("ask GetFlightInfo for one"))
            }
        }
    }

    async fn act(&self, action: &Action) -> Result<Option<Bytes>> {
        match action.r#type.as_str() {
            PREPARE => {
                let wanted: ActionCreatePreparedStatementRequest = unpacked(action)?;
                if wanted.transaction_id.is_some_and(|id| !id.is_empty()) {
                    return Err(asked::no_transactions());
                }
                let prepared = prepared::prepare(&self.engine, wanted.query, &self.secret).await?;
                Ok(Some(prepared.as_any().encode_to_vec().into()))
            }
            CLOSE => {
                let closed: ActionClosePreparedStatementRequest = unpacked(action)?;
                Prepared::open(&closed.prepared_statement_handle, &self.secret)?;
                Ok(None)
            }
            "BeginTransaction" | "EndTransaction" | "BeginSavepoint" | "EndSavepoint" => {
                Err(asked::no_transactions())
            }
            "CreatePreparedSubstraitPlan" => Err(asked::no_substrait()),
            "CancelQuery" | "CancelFlightInfo" => {
                let message = "cancel a query by its ticket: K2 keeps no list of them";
                Err(Error::bad_request("not_supported", message)
                    .with_hint("cancel the call of DoGet, which stops its query"))
            }
            other => Err(asked::unknown(&format!("the action {other:?}"))),
        }
    }

    /// Takes what a client puts: parameters, and nothing else.
    async fn put(&self, mut messages: Streaming<FlightData>) -> Result<PutResult> {
        let unreadable = |error: Status| {
            Error::bad_request("invalid_command", format!("read what was put: {error}"))
                .with_hint("send the command in the descriptor of the first message")
        };
        let first = messages.message().await.map_err(unreadable)?;
        let command = first.as_ref().and_then(|first| first.flight_descriptor.as_ref());
        let command = command.map(asked::of_descriptor).transpose()?;
        let (Some(Asked::Prepared(handle)), Some(first)) = (command, first) else {
            return Err(asked::read_only());
        };
        let prepared = Prepared::open(&handle, &self.secret)?;
        let messages = stream::once(async { Ok(first) })
            .chain(messages.map_err(FlightError::from))
            .take(PARAMETER_MESSAGES_MAX)
            .boxed();
        let batches = FlightRecordBatchStream::new_from_flight_data(messages);
        let bound = prepared.bind(batches, &self.secret).await?;
        Ok(PutResult { app_metadata: bound.encode_to_vec().into() })
    }

    /// Each table, as a flight.
    async fn tables(&self) -> Result<Vec<FlightInfo>> {
        let mut flights = Vec::new();
        for name in table_names() {
            flights.push(self.info(&FlightDescriptor::new_path(vec![name])).await?);
        }
        Ok(flights)
    }
}

/// All rows behind one ticket, how many nobody knows yet.
fn flight(schema: Bytes, ticket: Ticket) -> FlightInfo {
    let endpoint = FlightEndpoint::new().with_ticket(ticket);
    let info = FlightInfo { schema, ..FlightInfo::new() }.with_endpoint(endpoint);
    info.with_ordered(true).with_total_records(-1).with_total_bytes(-1)
}

fn unpacked<M: ProstMessageExt>(action: &Action) -> Result<M> {
    let any = Any::decode(action.body.clone()).ok();
    let message = any.and_then(|any| any.unpack().ok().flatten());
    message.ok_or_else(|| {
        let message = format!("read the action {}: its body is none", action.r#type);
        Error::bad_request("invalid_command", message)
            .with_hint("send the action as Flight SQL defines it")
    })
}

/// An answer with the id of its call.
fn answered<T, E: Into<Refusal>>(id: &str, answer: Result<T, E>) -> Answered<T> {
    let answer = answer.map_err(|refused| refused.into().status(id))?;
    let mut response = Response::new(answer);
    tell(response.metadata_mut(), correlation::HEADER, id);
    Ok(response)
}

fn one<T: Send + 'static>(item: T) -> Stream<T> {
    stream::once(async { Ok(item) }).boxed()
}

#[tonic::async_trait]
impl FlightService for Service {
    type HandshakeStream = Stream<HandshakeResponse>;
    type ListFlightsStream = Stream<FlightInfo>;
    type DoGetStream = Rows;
    type DoPutStream = Stream<PutResult>;
    type DoActionStream = Stream<arrow_flight::Result>;
    type ListActionsStream = Stream<ActionType>;
    type DoExchangeStream = Stream<FlightData>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Answered<Self::HandshakeStream> {
        let id = correlation_id_of(request.metadata());
        let caller = Caller::of(&self.access, request.metadata());
        let token =
            caller.map(|caller| caller.token).map_err(|error| Refusal::from(error).status(&id))?;
        let payload = token.clone().into();
        let answer = Ok::<_, Refusal>(one(HandshakeResponse { protocol_version: 0, payload }));
        let mut response = answered(&id, answer)?;
        tell(response.metadata_mut(), "authorization", &format!("Bearer {token}"));
        Ok(response)
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Answered<Self::ListFlightsStream> {
        let id = correlation_id_of(request.metadata());
        let listed = async {
            self.admit(request.metadata())?;
            Ok::<_, Refusal>(stream::iter(self.tables().await?.into_iter().map(Ok)).boxed())
        };
        answered(&id, listed.await)
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Answered<FlightInfo> {
        let id = correlation_id_of(request.metadata());
        let info = async {
            self.admit(request.metadata())?;
            Ok::<_, Refusal>(self.info(request.get_ref()).await?)
        };
        answered(&id, info.await)
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Answered<PollInfo> {
        let id = correlation_id_of(request.metadata());
        answered(&id, Err(asked::unknown("PollFlightInfo")))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Answered<SchemaResult> {
        let id = correlation_id_of(request.metadata());
        let schema = async {
            self.admit(request.metadata())?;
            let schema = prepared::packed(&*self.schema(request.get_ref()).await?)?;
            Ok::<_, Refusal>(SchemaResult { schema })
        };
        answered(&id, schema.await)
    }

    async fn do_get(&self, request: Request<Ticket>) -> Answered<Self::DoGetStream> {
        let id = correlation_id_of(request.metadata());
        let rows = async {
            self.admit(request.metadata())?;
            Ok::<_, Refusal>(self.rows(request.get_ref(), &id).await?)
        };
        answered(&id, rows.await)
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Answered<Self::DoPutStream> {
        let id = correlation_id_of(request.metadata());
        let put = async {
            Caller::of(&self.access, request.metadata())?;
            self.put(request.into_inner()).await.map(one)
        };
        answered(&id, put.await)
    }

    async fn do_action(&self, request: Request<Action>) -> Answered<Self::DoActionStream> {
        let id = correlation_id_of(request.metadata());
        let acted = async {
            match request.get_ref().r#type == PREPARE {
                true => self.admit(request.metadata())?,
                false => drop(Caller::of(&self.access, request.metadata())?),
            }
            let body = self.act(request.get_ref()).await?;
            let results = body.map(|body| Ok(arrow_flight::Result { body }));
            Ok::<_, Refusal>(stream::iter(results).boxed())
        };
        answered(&id, acted.await)
    }

    async fn list_actions(&self, request: Request<Empty>) -> Answered<Self::ListActionsStream> {
        let id = correlation_id_of(request.metadata());
        let action = |name: &str, description: &str| {
            Ok(ActionType { r#type: name.to_owned(), description: description.to_owned() })
        };
        let actions = [
            action(PREPARE, "Plans a statement and answers a handle for it"),
            action(CLOSE, "Ends a prepared statement, of which nothing is kept"),
        ];
        let known = Caller::of(&self.access, request.metadata());
        answered(&id, known.map(|_caller| stream::iter(actions).boxed()))
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Answered<Self::DoExchangeStream> {
        let id = correlation_id_of(request.metadata());
        answered(&id, Err(asked::unknown("DoExchange")))
    }
}
