//! Statements that are no questions: what they do to a session, and what they show.

use arrow_schema::{DataType, Field, Schema};

use super::command::Command;
use super::refusal::{self, Refusal};
use super::rows::{Column, columns_of};
use super::session::Session;
use super::sessions::Wish;
use super::settings::Settings;
use super::transaction::{ISOLATION, Transaction};
use super::wire::put_sized;

const APPLICATION: &str = "application_name";

/// What a statement that is no question has done.
pub(super) struct Done {
    tag: &'static str,
    rows: Vec<Vec<String>>,
}

/// The columns of what a statement shows, if it is one that does.
pub(super) fn shown_columns(command: &Command) -> Option<Vec<Column>> {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    match command {
        Command::Show(Some(name)) => Some(columns_of(&Schema::new(vec![text(name)]))),
        Command::Show(None) => Some(columns_of(&Schema::new(vec![text("name"), text("setting")]))),
        _ => None,
    }
}

impl Session {
    pub(super) fn obey(&mut self, command: &Command) -> Result<Done, Refusal> {
        let before = self.application()?;
        let done = self.done(command)?;
        self.tell_application(&before)?;
        Ok(done)
    }

    /// The one setting that may change of those that a client is told.
    fn application(&self) -> Result<String, Refusal> {
        Ok(self.settings.get(APPLICATION)?.to_owned())
    }

    fn tell_application(&mut self, before: &str) -> Result<(), Refusal> {
        let now = self.application()?;
        if now != before {
            self.out.texts(b'S', &[APPLICATION, &now]);
        }
        Ok(())
    }

    fn done(&mut self, command: &Command) -> Result<Done, Refusal> {
        let mut rows = Vec::new();
        let tag = match command {
            Command::Begin(isolation) => {
                self.begin_transaction(*isolation)?;
                "BEGIN"
            }
            Command::Commit | Command::Rollback => {
                match self.end_transaction(*command == Command::Commit)? {
                    true => "COMMIT",
                    false => "ROLLBACK",
                }
            }
            Command::RollbackTo => {
                if self.transaction == Transaction::Failed {
                    self.transaction = Transaction::Open;
                }
                "ROLLBACK"
            }
            Command::Set { name, value, is_local } => self.set(name, value, *is_local)?,
            Command::Reset(name) => {
                self.settings.reset(name.as_deref())?;
                "RESET"
            }
            Command::Show(Some(name)) => {
                rows.push(vec![self.settings.get(name)?.to_owned()]);
                "SHOW"
            }
            Command::Show(None) => {
                rows.extend(self.settings.all().into_iter().map(Vec::from));
                "SHOW"
            }
            Command::Deallocate(Some(name)) => {
                self.prepared(name)?;
                self.statements.remove(name);
                "DEALLOCATE"
            }
            Command::Deallocate(None) => {
                self.statements.clear();
                "DEALLOCATE ALL"
            }
            Command::Discard => {
                self.statements.clear();
                self.portals.clear();
                self.settings.reset(None)?;
                "DISCARD ALL"
            }
            Command::Close(name) => self.close(name.as_deref())?,
            Command::Nothing(tag) => tag,
            Command::Refused(state, what, hint) => {
                return Err(Refusal::error(state, *what).with_hint(*hint));
            }
            // Their own rows come of these.
            Command::Question
            | Command::Declare(_)
            | Command::Fetch(_)
            | Command::Copy(_)
            | Command::Prepare(_)
            | Command::Execute(_) => "SELECT 0",
        };
        Ok(Done { tag, rows })
    }

    fn set(&mut self, name: &str, value: &str, is_local: bool) -> Result<&'static str, Refusal> {
        if name == ISOLATION {
            self.isolate(value)?;
            return Ok("SET");
        }
        if is_local && self.transaction == Transaction::Idle {
            // What may not be is refused all the same.
            Settings::default().set(name, value)?;
            let message = format!("{name} stays as it is: SET LOCAL is of a transaction");
            refusal::tell_warning(&mut self.out, "25P01", &message);
            return Ok("SET");
        }
        let told = match is_local {
            true => self.settings.set_local(name, value)?,
            false => self.settings.set(name, value)?,
        };
        if let Some(told) = told {
            refusal::tell_notice(&mut self.out, &told);
        }
        Ok("SET")
    }

    /// Sets what a question has asked for with `set_config`. That it may be so was seen before.
    pub(super) fn grant_wishes(&mut self) {
        let is_idle = self.transaction == Transaction::Idle;
        for (name, Wish { value, is_local }) in self.inbound.registered.take_wishes() {
            // Its transaction was the question alone.
            if is_local && is_idle {
                continue;
            }
            if let Err(refusal) = self.obey(&Command::Set { name, value, is_local }) {
                refusal::tell_notice(&mut self.out, &refusal.message);
            }
        }
    }

    pub(super) fn show(&mut self, done: &Done) {
        for row in &done.rows {
            self.out.message(b'D', |body| {
                body.extend(u16::try_from(row.len()).expect("two columns").to_be_bytes());
                row.iter().for_each(|value| put_sized(body, |out| out.extend(value.bytes()), 0));
            });
        }
        self.complete(done.tag);
    }
}
