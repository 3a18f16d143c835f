//! Statements that a client has bound parameters to: what their rows will be, and their rows.

use super::command::Command;
use super::obey::shown_columns;
use super::parameter;
use super::prepared::Shape;
use super::refusal::Refusal;
use super::rows::{self, Column, Rows};
use super::session::{Result, Session};
use super::wire::{Bind, Form, Target};

/// Statements that a session may have bound at once, cursors among them. A long answer that is half
/// read holds a query's place at the gate.
const PORTALS_MAX: usize = 8;

/// A statement with its parameters.
pub(super) struct Portal {
    /// The question, if the statement is or has one.
    pub(super) sql: String,
    pub(super) command: Command,
    pub(super) forms: Vec<Form>,
    /// As the client was told of the prepared statement, if it was.
    pub(super) columns: Option<Vec<Column>>,
    pub(super) rows: Option<Rows>,
    pub(super) is_done: bool,
    /// It outlives its transaction.
    pub(super) is_held: bool,
}

impl Session {
    pub(super) async fn bind(&mut self, bind: Bind) -> Result {
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
            is_held: false,
        };
        self.check_portals(&portal)?;
        self.portals.insert(portal, bound);
        self.out.message(b'2', |_| {});
        Ok(())
    }

    /// Refuses one bound statement too many.
    pub(super) fn check_portals(&self, name: &str) -> Result<(), Refusal> {
        if self.portals.len() < PORTALS_MAX || self.portals.contains_key(name) {
            return Ok(());
        }
        let message = format!("bind a statement: {PORTALS_MAX} are bound already");
        Err(Refusal::error("53400", message).with_hint("close some of them"))
    }

    pub(super) async fn describe(&mut self, target: Target, name: &str) -> Result {
        match target {
            Target::Statement => self.describe_statement(name).await,
            Target::Portal => self.describe_portal(name).await,
        }
    }

    async fn describe_statement(&mut self, name: &str) -> Result {
        let prepared = self.prepared(name)?;
        let command = prepared.command.clone();
        let is_empty = prepared.template.sql().trim().is_empty();
        let has_parameters = prepared.template.parameters() > 0;
        let is_question = command == Command::Question && !is_empty;
        let shape = match is_question || has_parameters {
            true => self.shape(name).await?,
            false => Shape::default(),
        };
        self.out.message(b't', |body| {
            let count = u16::try_from(shape.types.len()).expect("parameters are bounded");
            body.extend(count.to_be_bytes());
            shape.types.iter().for_each(|oid| body.extend(oid.to_be_bytes()));
        });
        if is_question {
            rows::describe(&mut self.out, &shape.columns, &[]);
            return Ok(());
        }
        self.describe_command(&command, &[])
    }

    async fn describe_portal(&mut self, name: &str) -> Result {
        let portal = self.portal(name)?;
        let (command, forms) = (portal.command.clone(), portal.forms.clone());
        if command != Command::Question || portal.sql.trim().is_empty() {
            return self.describe_command(&command, &forms);
        }
        self.run_portal(name).await?;
        let columns = self.portal(name)?.rows.as_ref().map(|rows| rows.columns().to_vec());
        match columns {
            Some(columns) => rows::describe(&mut self.out, &columns, &forms),
            None => self.out.message(b'n', |_| {}),
        }
        Ok(())
    }

    /// What comes of a statement that is no question by itself: most have no columns.
    fn describe_command(&mut self, command: &Command, forms: &[Form]) -> Result {
        if let Command::Fetch(fetched) = command
            && !fetched.is_move
        {
            return self.describe_cursor(fetched, forms);
        }
        match shown_columns(command) {
            Some(columns) => rows::describe(&mut self.out, &columns, forms),
            None => self.out.message(b'n', |_| {}),
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
        let mut timer = self.settings.timer();
        let rows = self.begin(sql, columns, &mut timer).await?;
        self.portal(name)?.rows = Some(rows);
        Ok(())
    }

    pub(super) async fn execute(&mut self, name: &str, rows_max: usize) -> Result {
        let portal = self.portal(name)?;
        let (command, sql) = (portal.command.clone(), portal.sql.clone());
        if sql.trim().is_empty() && command == Command::Question {
            self.out.message(b'I', |_| {});
            return Ok(());
        }
        if command != Command::Question {
            let forms = portal.forms.clone();
            self.check_transaction(&command)?;
            return self.run_command(&command, sql, &forms).await;
        }
        self.run_portal(name).await?;
        let mut timer = self.settings.timer();
        let Some(portal) = self.portals.get_mut(name) else { return Ok(()) };
        let Some(rows) = &mut portal.rows else {
            self.complete("SELECT 0");
            return Ok(());
        };
        let sending = rows.send(&mut self.out, &portal.forms, rows_max);
        let sent = self.inbound.watch(&mut timer, sending).await;
        if sent.is_err() {
            // What has been sent of it cannot be known.
            self.portals.remove(name);
        }
        let (sent, is_last) = sent?;
        if !is_last {
            self.out.message(b's', |_| {});
            return Ok(());
        }
        let Some(portal) = self.portals.get_mut(name) else { return Ok(()) };
        portal.is_done = true;
        let meta = portal.rows.take().map(|rows| rows.meta());
        self.complete(&format!("SELECT {sent}"));
        if let Some(meta) = meta {
            self.notice(&meta);
        }
        Ok(())
    }
}
