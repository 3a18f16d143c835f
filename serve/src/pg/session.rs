//! One client's session: what it prepares, binds and asks, and in which order it is answered.

use std::collections::BTreeMap;

use super::command::{self, Command};
use super::inbound::{Inbound, Timer};
use super::names;
use super::obey::shown_columns;
use super::portal::Portal;
use super::prepared::{Prepared, Shape};
use super::refusal::{self, Refusal};
use super::rows::{self, Column, Rows};
use super::settings::Settings;
use super::transaction::{Moment, Transaction};
use super::wire::{Ended, Form, Message, Target, Writer};
use crate::access::{Access, Client, Scope};
use crate::answer::Meta;
use crate::engine::Engine;
use crate::request::Request;
use crate::template::Template;

/// Statements that a session may have prepared at once.
const STATEMENTS_MAX: usize = 1_000;
/// Why a session does not go on as it was.
pub(super) enum Stop {
    Gone,
    Refused(Refusal),
}

impl From<std::io::Error> for Stop {
    fn from(_gone: std::io::Error) -> Self {
        Self::Gone
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

pub(super) type Result<T = (), E = Stop> = std::result::Result<T, E>;

/// A client that is let in.
pub(super) struct Session {
    engine: Engine,
    access: Access,
    client: Client,
    pub(super) settings: Settings,
    pub(super) inbound: Inbound,
    pub(super) out: Writer,
    pub(super) transaction: Transaction,
    pub(super) moment: Moment,
    pub(super) statements: BTreeMap<String, Prepared>,
    pub(super) portals: BTreeMap<String, Portal>,
    /// After an error, until the client asks where it stands.
    is_skipping: bool,
}

impl Session {
    pub(super) fn new(
        engine: Engine,
        access: Access,
        client: Client,
        settings: Settings,
        inbound: Inbound,
        out: Writer,
    ) -> Self {
        Self {
            engine,
            access,
            client,
            settings,
            inbound,
            out,
            transaction: Transaction::Idle,
            moment: Moment::OfEach,
            statements: BTreeMap::new(),
            portals: BTreeMap::new(),
            is_skipping: false,
        }
    }

    /// Until the client leaves.
    pub(super) async fn run(mut self) {
        let mut standing = self.ready().await;
        while standing.is_ok() {
            standing = match self.inbound.message().await {
                Ok(Message::Terminate) | Err(Ended::Gone) => return,
                Ok(message) => self.answer(message).await,
                Err(Ended::Wrong(refusal)) => self.refuse(refusal).await,
            };
        }
    }

    async fn answer(&mut self, message: Message) -> Result {
        let is_simple = matches!(message, Message::Query(_));
        let answered = match message {
            Message::Sync => {
                self.is_skipping = false;
                return self.ready().await;
            }
            _ if self.is_skipping => Ok(()),
            Message::Query(sql) => self.simple(&sql).await,
            Message::Parse { name, sql, types } => self.parse(name, sql, types),
            Message::Bind(bind) => self.bind(bind).await,
            Message::Describe(target, name) => self.describe(target, &name).await,
            Message::Execute { portal, rows_max } => self.execute(&portal, rows_max).await,
            Message::Close(target, name) => {
                match target {
                    Target::Statement => drop(self.statements.remove(&name)),
                    Target::Portal => drop(self.portals.remove(&name)),
                }
                self.out.message(b'3', |_| {});
                Ok(())
            }
            Message::Flush => Ok(self.out.send().await?),
            Message::Terminate => Err(Stop::Gone),
            Message::Other => {
                Err(Refusal::error("0A000", "answer a message: it is of no use here")
                    .with_hint("K2 answers queries; it takes no data and calls no functions")
                    .into())
            }
        };
        match answered {
            // As all that a statement does, if it fails.
            Err(_) => drop(self.inbound.registered.take_wishes()),
            Ok(()) => self.grant_wishes(),
        }
        match answered {
            Err(Stop::Refused(refusal)) => {
                self.is_skipping = !is_simple;
                self.refuse(refusal).await?;
                if is_simple { self.ready().await } else { Ok(()) }
            }
            Ok(()) if is_simple => self.ready().await,
            other => other,
        }
    }

    async fn ready(&mut self) -> Result {
        // Outside of a transaction what is bound lives no longer than this.
        if self.transaction == Transaction::Idle {
            self.portals.retain(|_, portal| portal.is_held);
        }
        let (state, told) = match self.transaction {
            Transaction::Idle => (b'I', "idle"),
            Transaction::Open => (b'T', "idle in transaction"),
            Transaction::Failed => (b'E', "idle in transaction (aborted)"),
        };
        let application = self.settings.get("application_name").unwrap_or_default();
        self.inbound.registered.rest(told, application);
        self.out.message(b'Z', |body| body.push(state));
        Ok(self.out.send().await?)
    }

    async fn refuse(&mut self, refusal: Refusal) -> Result {
        if self.transaction == Transaction::Open {
            self.transaction = Transaction::Failed;
        }
        refusal.tell(&mut self.out);
        self.out.send().await?;
        if refusal.is_fatal { Err(Stop::Gone) } else { Ok(()) }
    }

    /// The statements of one text, one after another until one fails.
    async fn simple(&mut self, sql: &str) -> Result {
        self.portals.remove("");
        let statements = command::split(sql);
        if statements.is_empty() {
            self.out.message(b'I', |_| {});
        }
        for sql in statements {
            let command = command::classify(&sql);
            self.check_transaction(&command)?;
            // What the question before has asked for, it has before this one.
            self.grant_wishes();
            match command {
                Command::Question => self.question(sql).await?,
                Command::Execute(executed) => {
                    let sql = self.executed(&executed)?;
                    self.question(sql).await?;
                }
                Command::Fetch(fetched) if !fetched.is_move => {
                    self.describe_cursor(&fetched, &[])?;
                    self.fetch(&fetched, &[]).await?;
                }
                command => {
                    if let Some(columns) = shown_columns(&command) {
                        rows::describe(&mut self.out, &columns, &[]);
                    }
                    let sql = command.question().unwrap_or_default().to_owned();
                    self.run_command(&command, sql, &[]).await?;
                }
            }
        }
        Ok(())
    }

    /// Answers a question whole.
    async fn question(&mut self, sql: String) -> Result {
        let mut timer = self.settings.timer();
        let mut rows = self.begin(sql, None, &mut timer).await?;
        rows::describe(&mut self.out, rows.columns(), &[]);
        let sending = rows.send(&mut self.out, &[], 0);
        let (sent, _) = self.inbound.watch(&mut timer, sending).await?;
        self.complete(&format!("SELECT {sent}"));
        self.notice(&rows.meta());
        Ok(())
    }

    /// Does what is no question by itself. `sql` is the question in it, with its parameters, and
    /// `forms` are those that rows are asked for in.
    pub(super) async fn run_command(
        &mut self,
        command: &Command,
        sql: String,
        forms: &[Form],
    ) -> Result {
        match command {
            Command::Declare(declared) => self.declare(declared, sql).await,
            Command::Fetch(fetched) => self.fetch(fetched, forms).await,
            Command::Copy(copied) => self.copy(copied, sql).await,
            Command::Prepare(named) => self.prepare(named).await,
            command => {
                let done = self.obey(command)?;
                self.show(&done);
                Ok(())
            }
        }
    }

    fn parse(&mut self, name: String, sql: String, given: Vec<u32>) -> Result {
        let mut statements = command::split(&sql);
        if statements.len() > 1 {
            let message = "prepare a statement: there are several";
            return Err(Refusal::error("42601", message).with_hint("prepare one at a time").into());
        }
        self.check_statement(&name)?;
        let mut sql = statements.pop().unwrap_or_default();
        let mut command = command::classify(&sql);
        if let Command::Execute(executed) = &command {
            sql = self.executed(executed)?;
            command = Command::Question;
        }
        let template = Template::new(command.question().map_or(sql, str::to_owned));
        let prepared = Prepared { template, command, given, shape: None };
        self.statements.insert(name, prepared);
        self.out.message(b'1', |_| {});
        Ok(())
    }

    /// Refuses one prepared statement too many, and a second one of a name.
    pub(super) fn check_statement(&self, name: &str) -> Result<(), Refusal> {
        let is_known = self.statements.contains_key(name);
        if self.statements.len() >= STATEMENTS_MAX && !is_known {
            let message = format!("prepare a statement: {STATEMENTS_MAX} are prepared already");
            return Err(Refusal::error("53400", message).with_hint("close some of them"));
        }
        if is_known && !name.is_empty() {
            let message = format!("prepare a statement: {name:?} is prepared already");
            return Err(Refusal::error("42P05", message));
        }
        Ok(())
    }

    pub(super) fn prepared(&self, name: &str) -> Result<&Prepared, Refusal> {
        self.statements.get(name).ok_or_else(|| {
            Refusal::error("26000", format!("find the prepared statement {name:?}: there is none"))
        })
    }

    /// The types and columns of a prepared question, found out once.
    pub(super) async fn shape(&mut self, name: &str) -> Result<Shape> {
        let prepared = self.prepared(name)?;
        if let Some(shape) = &prepared.shape {
            return Ok(shape.clone());
        }
        let shape = prepared.find_shape(&self.engine).await?;
        if let Some(prepared) = self.statements.get_mut(name) {
            prepared.shape = Some(shape.clone());
        }
        Ok(shape)
    }

    /// Begins to answer a question, whose columns may have been `described`.
    pub(super) async fn begin(
        &mut self,
        sql: String,
        described: Option<Vec<Column>>,
        timer: &mut Timer,
    ) -> Result<Rows> {
        let admitted = self.access.admit(&self.client, Scope::Sql);
        admitted.map_err(|denied| Refusal::from(denied.error))?;
        let engine = &self.engine;
        self.inbound.registered.begin(&sql);
        let unnamed = described.is_none().then(|| sql.clone());
        let backend = Some(self.inbound.registered.backend());
        let request = Request { as_of: self.moment.of_next(), backend, ..Request::new(sql) };
        let is_first = self.moment.is_open();
        let beginning = async {
            let answer = engine.stream(request).await.map_err(Refusal::from)?;
            if is_first {
                engine.hold(answer.scope());
            }
            Ok(Rows::new(answer, described)?)
        };
        let mut rows = self.inbound.watch(timer, beginning).await?;
        if let Some(sql) = unnamed {
            names::rename(&sql, rows.columns_mut());
        }
        if is_first {
            self.moment = Moment::OfFirst(Some(rows.meta().as_of));
        }
        Ok(rows)
    }

    pub(super) fn complete(&mut self, tag: &str) {
        self.out.texts(b'C', &[tag]);
    }

    pub(super) fn notice(&mut self, meta: &Meta) {
        if !self.settings.wants_notices() {
            return;
        }
        if let Some(text) = rows::notice(meta, self.settings.notices()) {
            refusal::tell_notice(&mut self.out, &text);
        }
    }

    pub(super) fn check_transaction(&self, command: &Command) -> Result<(), Refusal> {
        let ends = matches!(command, Command::Commit | Command::Rollback | Command::RollbackTo);
        if self.transaction == Transaction::Failed && !ends {
            return Err(Refusal::error("25P02", "answer a statement: its transaction has failed")
                .with_hint("end it with ROLLBACK"));
        }
        Ok(())
    }
}
