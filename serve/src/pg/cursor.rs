//! Cursors: `DECLARE`, `FETCH`, `MOVE` and `CLOSE`, over the same answers as everything else.
//!
//! A cursor is a bound statement under a name. Its rows are those of the moment that it was declared
//! at, and come once: it goes forward only. One whose answer is long holds a query's place at the
//! gate, and loses it when nothing is fetched for a minute.

use super::command::{Command, Word};
use super::portal::Portal;
use super::refusal::Refusal;
use super::rows::{self, Rows};
use super::session::{Result, Session};
use super::transaction::Transaction;
use super::wire::Form;

/// What declares a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declared {
    name: String,
    pub(super) question: String,
    is_binary: bool,
    /// It stays when its transaction ends.
    is_held: bool,
}

/// What takes rows from a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fetched {
    pub(super) name: String,
    /// 0: all that are left.
    rows_max: usize,
    /// They are passed over, not sent.
    pub(super) is_move: bool,
}

/// `DECLARE name [BINARY] [NO SCROLL] CURSOR [WITH HOLD] FOR question`.
pub(super) fn declare(sql: &str, words: &[Word]) -> Command {
    let upper: Vec<&str> = words.iter().map(|word| &*word.upper).collect();
    let Some(cursor) = upper.iter().position(|word| *word == "CURSOR").filter(|at| *at >= 2) else {
        return Command::Question;
    };
    let options = &upper[2..cursor];
    let (is_held, after) = match &upper[cursor + 1..] {
        ["WITH", "HOLD", "FOR", ..] => (true, cursor + 4),
        ["WITHOUT", "HOLD", "FOR", ..] => (false, cursor + 4),
        ["FOR", ..] => (false, cursor + 2),
        _ => return Command::Question,
    };
    let Some(first) = words.get(after) else { return Command::Question };
    let known = ["BINARY", "ASENSITIVE", "INSENSITIVE", "NO", "SCROLL"];
    if !options.iter().all(|option| known.contains(option)) {
        return Command::Question;
    }
    if options.contains(&"SCROLL") && !options.contains(&"NO") {
        let hint = "declare it with NO SCROLL, or without either; declare another to begin again";
        return Command::Refused("0A000", "declare a cursor that goes backwards", hint);
    }
    Command::Declare(Declared {
        name: words[1].name(),
        question: sql[first.begin..].to_owned(),
        is_binary: options.contains(&"BINARY"),
        is_held,
    })
}

/// `FETCH` or `MOVE`, `[NEXT | [FORWARD] number | [FORWARD] ALL] [FROM | IN] name`.
pub(super) fn fetch(words: &[Word]) -> Command {
    let [verb, between @ .., name] = words else { return Command::Question };
    let between: Vec<&str> = between.iter().map(|word| &*word.upper).collect();
    let how = match &between[..] {
        [how @ .., "FROM" | "IN"] => how,
        how => how,
    };
    let backwards = Command::Refused(
        "55000",
        "fetch rows that have passed: cursors go forward",
        "declare another cursor to begin again",
    );
    let rows_max = match how {
        [] | ["NEXT" | "FORWARD"] => 1,
        ["ALL"] | ["FORWARD", "ALL"] => 0,
        [number] | ["FORWARD", number] => match number.parse() {
            Ok(0) => return backwards,
            Ok(rows) => rows,
            Err(_) if ["PRIOR", "FIRST", "LAST", "BACKWARD"].contains(number) => return backwards,
            Err(_) => return Command::Question,
        },
        ["BACKWARD" | "ABSOLUTE" | "RELATIVE" | "-" | "FORWARD", ..] => return backwards,
        _ => return Command::Question,
    };
    Command::Fetch(Fetched { name: name.name(), rows_max, is_move: verb.upper == "MOVE" })
}

impl Session {
    /// `sql` is the question with its parameters.
    pub(super) async fn declare(&mut self, declared: &Declared, sql: String) -> Result {
        let Declared { name, is_binary, is_held, .. } = declared;
        if self.transaction == Transaction::Idle && !is_held {
            let message = "declare a cursor: there is no transaction that it could last for";
            return Err(Refusal::error("25P01", message)
                .with_hint("begin one with BEGIN, or declare it WITH HOLD")
                .into());
        }
        if self.portals.contains_key(name) {
            let message = format!("declare a cursor: {name:?} is declared already");
            return Err(Refusal::error("42P03", message).with_hint("close it first").into());
        }
        self.check_portals(name)?;
        let mut timer = self.settings.timer();
        let rows = self.begin(sql.clone(), None, &mut timer).await?;
        let forms = if *is_binary { vec![Form::Binary] } else { Vec::new() };
        let portal = Portal {
            sql,
            command: Command::Question,
            forms,
            columns: None,
            rows: Some(rows),
            is_done: false,
            is_held: *is_held,
        };
        self.portals.insert(name.clone(), portal);
        self.complete("DECLARE CURSOR");
        Ok(())
    }

    /// `asked` are the forms that the fetch was bound with, if it was.
    pub(super) async fn fetch(&mut self, fetched: &Fetched, asked: &[Form]) -> Result {
        let mut timer = self.settings.timer();
        let Some(portal) = self.portals.get_mut(&fetched.name) else {
            return Err(no_cursor(&fetched.name).into());
        };
        let verb = if fetched.is_move { "MOVE" } else { "FETCH" };
        let Some(rows) = &mut portal.rows else {
            self.complete(&format!("{verb} 0"));
            return Ok(());
        };
        let forms = if portal.forms.is_empty() { asked } else { &portal.forms };
        let (out, rows_max) = (&mut self.out, fetched.rows_max);
        let passed = if fetched.is_move {
            self.inbound.watch(&mut timer, rows.skip(rows_max)).await
        } else {
            let sending = self.inbound.watch(&mut timer, rows.send(out, forms, rows_max)).await;
            sending.map(|(sent, _)| sent)
        };
        if passed.is_err() {
            // What has been sent of it cannot be known.
            self.portals.remove(&fetched.name);
        }
        self.complete(&format!("{verb} {}", passed?));
        Ok(())
    }

    /// Tells which columns a cursor's rows have, in the forms that they would be fetched in.
    pub(super) fn describe_cursor(&mut self, fetched: &Fetched, asked: &[Form]) -> Result {
        let Some(portal) = self.portals.get(&fetched.name) else {
            return Err(no_cursor(&fetched.name).into());
        };
        let columns = portal.rows.as_ref().map(Rows::columns).unwrap_or_default();
        let forms = if portal.forms.is_empty() { asked } else { &portal.forms };
        rows::describe(&mut self.out, columns, forms);
        Ok(())
    }

    pub(super) fn close(&mut self, name: Option<&str>) -> Result<&'static str, Refusal> {
        let Some(name) = name else {
            self.portals.clear();
            return Ok("CLOSE CURSOR ALL");
        };
        self.portals.remove(name).map(|_| "CLOSE CURSOR").ok_or_else(|| no_cursor(name))
    }
}

fn no_cursor(name: &str) -> Refusal {
    Refusal::error("34000", format!("find the cursor {name:?}: there is none"))
        .with_hint("a cursor ends with its transaction, unless it is declared WITH HOLD")
}

#[cfg(test)]
mod tests {
    use super::super::command::classify;
    use super::*;

    fn fetched(rows_max: usize) -> Command {
        Command::Fetch(Fetched { name: "c".into(), rows_max, is_move: false })
    }

    #[test]
    fn cursors_are_declared_as_drivers_and_psql_do() {
        let declared = |name: &str, is_held, is_binary| {
            let question = "SELECT 'FOR' FROM trades".to_owned();
            Command::Declare(Declared { name: name.into(), question, is_binary, is_held })
        };
        let cases = [
            ("DECLARE \"C\" CURSOR FOR", declared("C", false, false)),
            ("declare C binary no scroll cursor with hold for", declared("c", true, true)),
            ("DECLARE _psql_cursor NO SCROLL CURSOR FOR\n", declared("_psql_cursor", false, false)),
            ("DECLARE c INSENSITIVE CURSOR WITHOUT HOLD FOR", declared("c", false, false)),
        ];
        for (begin, expected) in cases {
            assert_eq!(classify(&format!("{begin} SELECT 'FOR' FROM trades")), expected, "{begin}");
        }
        for other in ["DECLARE c CURSOR FOR", "DECLARE CURSOR FOR SELECT 1", "DECLARE @x INT"] {
            assert_eq!(classify(other), Command::Question, "{other}");
        }
        assert!(matches!(classify("DECLARE c SCROLL CURSOR FOR SELECT 1"), Command::Refused(..)));
    }

    #[test]
    fn rows_are_fetched_forward_only() {
        let cases = [
            ("FETCH c", 1),
            ("fetch next from c", 1),
            ("FETCH 10 c", 10),
            ("FETCH FORWARD 100 FROM \"c\"", 100),
            ("FETCH FORWARD IN C", 1),
            ("FETCH ALL FROM c", 0),
            ("FETCH FORWARD ALL FROM c", 0),
        ];
        for (sql, rows_max) in cases {
            assert_eq!(classify(sql), fetched(rows_max), "{sql}");
        }
        let moved = Fetched { name: "c".into(), rows_max: 3, is_move: true };
        assert_eq!(classify("MOVE 3 IN c"), Command::Fetch(moved));
        for sql in ["FETCH PRIOR c", "FETCH -1 FROM c", "FETCH BACKWARD 5 c", "FETCH ABSOLUTE 1 c"]
        {
            assert!(matches!(classify(sql), Command::Refused("55000", ..)), "{sql}");
        }
        assert_eq!(classify("FETCH"), Command::Question);
        assert_eq!(classify("FETCH x FROM c"), Command::Question);
    }
}
