//! Statements that are prepared and run by what is sent as SQL: `PREPARE` and `EXECUTE`.
//!
//! They are those of the protocol too, under the same names. To execute one is to ask its question
//! with the arguments where its parameters stand, so that a driver which prepares an `EXECUTE`
//! prepares that question.

use super::command::{Command, Word};
use super::parameter::sql_type;
use super::prepared::Prepared;
use super::refusal::Refusal;
use super::session::{Result, Session};
use super::types;
use crate::pg_catalog::type_oid;
use crate::template::Template;

/// What is prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    name: String,
    /// Of its first parameters, as they are written.
    types: Vec<String>,
    question: String,
}

/// What is run of what was prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Executed {
    name: String,
    /// As they are written.
    arguments: Vec<String>,
}

/// `PREPARE name [(type, …)] AS question`.
pub(super) fn prepare(sql: &str, words: &[Word]) -> Command {
    let [_, name, rest @ ..] = words else { return Command::Question };
    let Some((types, after)) = listed(sql, rest) else { return Command::Question };
    match &rest[after..] {
        [keyword, first, ..] if keyword.upper == "AS" => Command::Prepare(Named {
            name: name.name(),
            types,
            question: sql[first.begin..].to_owned(),
        }),
        _ => Command::Question,
    }
}

/// `EXECUTE name [(argument, …)]`.
pub(super) fn execute(sql: &str, words: &[Word]) -> Command {
    let [_, name, rest @ ..] = words else { return Command::Question };
    match listed(sql, rest) {
        Some((arguments, after)) if after == rest.len() => {
            Command::Execute(Executed { name: name.name(), arguments })
        }
        _ => Command::Question,
    }
}

/// The texts in the parentheses that `words` begin with, if they do, and how many words that is.
fn listed(sql: &str, words: &[Word]) -> Option<(Vec<String>, usize)> {
    if words.first().is_none_or(|word| word.upper != "(") {
        return Some((Vec::new(), 0));
    }
    let (mut texts, mut depth, mut begin) = (Vec::new(), 0_usize, words[0].begin + 1);
    for (at, word) in words.iter().enumerate() {
        match &*word.upper {
            "(" | "[" => depth += 1,
            ")" | "]" => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 || (depth == 1 && word.upper == ",") {
            texts.push(sql[begin..word.begin].trim().to_owned());
            begin = word.begin + 1;
        }
        if depth == 0 {
            let is_well = texts.iter().all(|text| !text.is_empty());
            return is_well.then_some((texts, at + 1));
        }
    }
    None
}

impl Session {
    pub(super) async fn prepare(&mut self, named: &Named) -> Result {
        let oid = |name: &String| {
            let oid = type_oid(name).and_then(|oid| u32::try_from(oid).ok());
            oid.ok_or_else(|| {
                Refusal::error("42704", format!("prepare a statement: there is no type {name}"))
            })
        };
        let given = named.types.iter().map(oid).collect::<Result<Vec<_>, _>>()?;
        self.check_statement(&named.name)?;
        let template = Template::new(named.question.clone());
        let prepared = Prepared { template, command: Command::Question, given, shape: None };
        self.statements.insert(named.name.clone(), prepared);
        // What is no question is told so now, not when it is run.
        if let Err(stop) = self.shape(&named.name).await {
            self.statements.remove(&named.name);
            return Err(stop);
        }
        self.complete("PREPARE");
        Ok(())
    }

    /// The question that comes of it.
    pub(super) fn executed(&self, executed: &Executed) -> Result<String, Refusal> {
        let Executed { name, arguments } = executed;
        let prepared = self.prepared(name)?;
        let wanted = prepared.template.parameters();
        if arguments.len() != wanted || prepared.command != Command::Question {
            let message = format!("execute {name:?} with {} of {wanted} values", arguments.len());
            return Err(Refusal::error("42601", message)
                .with_hint("only questions are executed, with a value for each parameter"));
        }
        Ok(prepared.template.filled(|at| {
            // A text stays a literal, by which files are chosen.
            let given = prepared.given_type(at).filter(|oid| *oid != types::TEXT.oid);
            match given.and_then(sql_type) {
                Some(kind) => format!("CAST({} AS {kind})", arguments[at]),
                None => arguments[at].clone(),
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::classify;
    use super::*;

    #[test]
    fn statements_are_prepared_and_executed_with_what_is_in_their_parentheses() {
        let named = |types: &[&str], question: &str| {
            Command::Prepare(Named {
                name: "p".into(),
                types: types.iter().map(|it| (*it).to_owned()).collect(),
                question: question.into(),
            })
        };
        let executed = |arguments: &[&str]| {
            Command::Execute(Executed {
                name: "p".into(),
                arguments: arguments.iter().map(|it| (*it).to_owned()).collect(),
            })
        };
        let cases = [
            ("PREPARE p AS SELECT $1", named(&[], "SELECT $1")),
            (
                "prepare P (int, numeric(38, 12),text[]) as SELECT (1)",
                named(&["int", "numeric(38, 12)", "text[]"], "SELECT (1)"),
            ),
            ("EXECUTE p", executed(&[])),
            ("EXECUTE p(1, 'a, )', greatest(1, 2))", executed(&["1", "'a, )'", "greatest(1, 2)"])),
            ("execute p (ARRAY[1, 2])", executed(&["ARRAY[1, 2]"])),
        ];
        for (sql, command) in cases {
            assert_eq!(classify(sql), command, "{sql}");
        }
        for other in ["PREPARE p", "PREPARE p AS", "EXECUTE", "EXECUTE p(1", "EXECUTE p(1) 2"] {
            assert_eq!(classify(other), Command::Question, "{other}");
        }
    }
}
