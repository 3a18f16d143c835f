//! One client's session: what it prepares, binds and asks, and in which order it is answered.
//!
//! A query runs beside two watches: whether its client asks for it to stop, and whether its client
//! is still there. Either drops the query, which stops it.

use std::collections::BTreeMap;

use super::command::{self, Command};
use super::obey::shown_columns;
use super::parameter;
use super::prepared::{Portal, Prepared, Shape};
use super::refusal::{self, Refusal};
use super::rows::{self, Rows};
use super::settings::Settings;
use super::startup::Registered;
use super::wire::{Bind, Ended, Form, Message, Reader, Target, Writer};
use crate::access::{Access, Client, Scope};
use crate::answer::{Answer, Meta};
use crate::engine::Engine;
use crate::request::Request;
use crate::template::Template;

/// Statements that a session may have prepared at once.
const STATEMENTS_MAX: usize = 1_000;
/// Answers that a session may hold at once, each up to the memory limit of a query.
const PORTALS_MAX: usize = 8;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transaction {
    Idle,
    Open,
    /// Nothing is answered until it ends.
    Failed,
}

/// A client that is let in.
pub(super) struct Session {
    engine: Engine,
    access: Access,
    client: Client,
    registered: Registered,
    pub(super) settings: Settings,
    pub(super) link: Link,
    pub(super) transaction: Transaction,
    pub(super) statements: BTreeMap<String, Prepared>,
    pub(super) portals: BTreeMap<String, Portal>,
    /// After an error, until the client asks where it stands.
    is_skipping: bool,
}

/// Both halves of a connection.
pub(super) struct Link {
    pub(super) reader: Reader,
    pub(super) out: Writer,
}

impl Session {
    pub(super) fn new(
        engine: Engine,
        access: Access,
        client: Client,
        registered: Registered,
        settings: Settings,
        link: Link,
    ) -> Self {
        Self {
            engine,
            access,
            client,
            registered,
            settings,
            link,
            transaction: Transaction::Idle,
            statements: BTreeMap::new(),
            portals: BTreeMap::new(),
            is_skipping: false,
        }
    }

    /// Until the client leaves.
    pub(super) async fn run(mut self) {
        let mut standing = self.ready().await;
        while standing.is_ok() {
            standing = match self.link.reader.message().await {
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
                // Outside of a transaction a portal lives no longer than this.
                if self.transaction == Transaction::Idle {
                    self.portals.clear();
                }
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
                self.link.out.message(b'3', |_| {});
                Ok(())
            }
            Message::Flush => Ok(self.link.out.send().await?),
            Message::Terminate => Err(Stop::Gone),
            Message::Other => {
                Err(Refusal::error("0A000", "answer a message: it is of no use here")
                    .with_hint("K2 answers queries; it takes no data and calls no functions")
                    .into())
            }
        };
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
        let state = match self.transaction {
            Transaction::Idle => b'I',
            Transaction::Open => b'T',
            Transaction::Failed => b'E',
        };
        self.link.out.message(b'Z', |body| body.push(state));
        Ok(self.link.out.send().await?)
    }

    async fn refuse(&mut self, refusal: Refusal) -> Result {
        if self.transaction == Transaction::Open {
            self.transaction = Transaction::Failed;
        }
        refusal.tell(&mut self.link.out);
        self.link.out.send().await?;
        if refusal.is_fatal { Err(Stop::Gone) } else { Ok(()) }
    }

    /// The statements of one text, one after another until one fails.
    async fn simple(&mut self, sql: &str) -> Result {
        self.portals.remove("");
        let statements = command::split(sql);
        if statements.is_empty() {
            self.link.out.message(b'I', |_| {});
        }
        for sql in statements {
            let command = command::classify(&sql);
            self.check_transaction(&command)?;
            if command != Command::Question {
                let done = self.obey(&command)?;
                if let Some(columns) = shown_columns(&command) {
                    rows::describe(&mut self.link.out, &columns, &[]);
                }
                self.show(&done);
                continue;
            }
            let mut rows = Rows::new(self.ask(sql).await?, None)?;
            rows::describe(&mut self.link.out, rows.columns(), &[]);
            let (sent, _) = rows.send(&mut self.link.out, &[], 0).await?;
            self.complete(&format!("SELECT {sent}"));
            self.notice(&rows.meta);
        }
        Ok(())
    }

    fn parse(&mut self, name: String, sql: String, given: Vec<u32>) -> Result {
        let mut statements = command::split(&sql);
        if statements.len() > 1 {
            let message = "prepare a statement: there are several";
            return Err(Refusal::error("42601", message).with_hint("prepare one at a time").into());
        }
        if self.statements.len() >= STATEMENTS_MAX && !self.statements.contains_key(&name) {
            let message = format!("prepare a statement: {STATEMENTS_MAX} are prepared already");
            return Err(Refusal::error("53400", message).with_hint("close some of them").into());
        }
        if !name.is_empty() && self.statements.contains_key(&name) {
            let message = format!("prepare a statement: {name:?} is prepared already");
            return Err(Refusal::error("42P05", message).into());
        }
        let sql = statements.pop().unwrap_or_default();
        let command = command::classify(&sql);
        let prepared = Prepared { template: Template::new(sql), command, given, shape: None };
        self.statements.insert(name, prepared);
        self.link.out.message(b'1', |_| {});
        Ok(())
    }

    async fn bind(&mut self, bind: Bind) -> Result {
        let Bind { portal, statement, forms, values, result_forms } = bind;
        let prepared = self.prepared(&statement)?;
        let wanted = prepared.template.parameters();
        if values.len() < wanted || !matches!(forms.len(), 0 | 1) && forms.len() != values.len() {
            let message = format!("bind {} parameters to a statement with {wanted}", values.len());
            return Err(Refusal::error("08P01", message).into());
        }
        if (0..wanted).any(|at| prepared.given_type(at).is_none()) {
            self.shape(&statement).await?;
        }
        let prepared = self.prepared(&statement)?;
        let form = |at: usize| match forms[..] {
            [] => Form::Text,
            [one] => one,
            _ => forms[at],
        };
        let literals = values.iter().take(wanted).enumerate().map(|(at, value)| {
            parameter::literal(prepared.type_of(at), form(at), value.as_deref())
        });
        let literals = literals.collect::<Result<Vec<_>, _>>()?;
        let bound = Portal {
            sql: prepared.template.filled(|at| literals[at].clone()),
            command: prepared.command.clone(),
            forms: result_forms,
            columns: prepared.shape.as_ref().map(|shape| shape.columns.clone()),
            rows: None,
            is_done: false,
        };
        if self.portals.len() >= PORTALS_MAX && !self.portals.contains_key(&portal) {
            let message = format!("bind a statement: {PORTALS_MAX} are bound already");
            return Err(Refusal::error("53400", message).with_hint("close some of them").into());
        }
        self.portals.insert(portal, bound);
        self.link.out.message(b'2', |_| {});
        Ok(())
    }

    pub(super) fn prepared(&self, name: &str) -> Result<&Prepared, Refusal> {
        self.statements.get(name).ok_or_else(|| {
            Refusal::error("26000", format!("find the prepared statement {name:?}: there is none"))
        })
    }

    /// The types and columns of a prepared question, found out once.
    async fn shape(&mut self, name: &str) -> Result<Shape> {
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

    async fn describe(&mut self, target: Target, name: &str) -> Result {
        let (command, is_empty) = match target {
            Target::Statement => {
                let prepared = self.prepared(name)?;
                (prepared.command.clone(), prepared.template.sql().trim().is_empty())
            }
            Target::Portal => {
                let portal = self.portal(name)?;
                (portal.command.clone(), portal.sql.trim().is_empty())
            }
        };
        let is_question = command == Command::Question && !is_empty;
        let (parameters, columns, forms) = match target {
            Target::Statement if is_question => {
                let Shape { types, columns } = self.shape(name).await?;
                (types, Some(columns), Vec::new())
            }
            Target::Portal if is_question => {
                self.run_portal(name).await?;
                let portal = self.portal(name)?;
                let columns = portal.rows.as_ref().map(|rows| rows.columns().to_vec());
                (Vec::new(), columns, portal.forms.clone())
            }
            _ => (Vec::new(), shown_columns(&command), Vec::new()),
        };
        if target == Target::Statement {
            self.link.out.message(b't', |body| {
                let count = u16::try_from(parameters.len()).expect("parameters are bounded");
                body.extend(count.to_be_bytes());
                parameters.iter().for_each(|oid| body.extend(oid.to_be_bytes()));
            });
        }
        match columns {
            Some(columns) => rows::describe(&mut self.link.out, &columns, &forms),
            None => self.link.out.message(b'n', |_| {}),
        }
        Ok(())
    }

    fn portal(&mut self, name: &str) -> Result<&mut Portal, Refusal> {
        self.portals.get_mut(name).ok_or_else(|| {
            Refusal::error("34000", format!("find the bound statement {name:?}: there is none"))
        })
    }

    /// Asks the question of a portal, unless that was done.
    async fn run_portal(&mut self, name: &str) -> Result {
        let portal = self.portal(name)?;
        if portal.rows.is_some() || portal.is_done {
            return Ok(());
        }
        let (sql, columns) = (portal.sql.clone(), portal.columns.clone());
        self.check_transaction(&Command::Question)?;
        let answer = self.ask(sql).await?;
        self.portal(name)?.rows = Some(Rows::new(answer, columns)?);
        Ok(())
    }

    async fn execute(&mut self, name: &str, rows_max: usize) -> Result {
        let portal = self.portal(name)?;
        let (command, is_empty) = (portal.command.clone(), portal.sql.trim().is_empty());
        if is_empty {
            self.link.out.message(b'I', |_| {});
            return Ok(());
        }
        if command != Command::Question {
            self.check_transaction(&command)?;
            let done = self.obey(&command)?;
            self.show(&done);
            return Ok(());
        }
        self.run_portal(name).await?;
        let Some(portal) = self.portals.get_mut(name) else { return Ok(()) };
        let Some(rows) = &mut portal.rows else {
            self.complete("SELECT 0");
            return Ok(());
        };
        let (sent, is_last) = rows.send(&mut self.link.out, &portal.forms, rows_max).await?;
        if !is_last {
            self.link.out.message(b's', |_| {});
            return Ok(());
        }
        portal.is_done = true;
        let meta = portal.rows.take().map(|rows| rows.meta);
        self.complete(&format!("SELECT {sent}"));
        if let Some(meta) = meta {
            self.notice(&meta);
        }
        Ok(())
    }

    /// Answers a question, unless its client stops it or leaves.
    async fn ask(&mut self, sql: String) -> Result<Answer> {
        let admitted = self.access.admit(&self.client, Scope::Sql);
        admitted.map_err(|denied| Refusal::from(denied.error))?;
        let limits = Some(self.settings.limits(self.engine.config().limits));
        let request = Request { sql, limits, ..Request::default() };
        let (engine, reader) = (&self.engine, &mut self.link.reader);
        tokio::select! {
            answer = engine.query(request) => Ok(answer.map_err(Refusal::from)?),
            () = self.registered.asked_to_stop() => {
                Err(Refusal::error("57014", "answer a query: its client asked for it to stop").into())
            }
            () = reader.gone() => Err(Stop::Gone),
        }
    }

    pub(super) fn complete(&mut self, tag: &str) {
        self.link.out.texts(b'C', &[tag]);
    }

    fn notice(&mut self, meta: &Meta) {
        if !self.settings.wants_notices() {
            return;
        }
        if let Some(text) = rows::notice(meta, self.settings.notices()) {
            refusal::tell_notice(&mut self.link.out, &text);
        }
    }

    fn check_transaction(&self, command: &Command) -> Result<(), Refusal> {
        let ends = matches!(command, Command::Commit | Command::Rollback | Command::RollbackTo);
        if self.transaction == Transaction::Failed && !ends {
            return Err(Refusal::error("25P02", "answer a statement: its transaction has failed")
                .with_hint("end it with ROLLBACK"));
        }
        Ok(())
    }
}
