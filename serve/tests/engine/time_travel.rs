//! Answers of earlier moments are the answers of then.

use std::time::Duration;

use k2_model::Nanos;
use k2_serve::{At, Engine, ErrorKind, Request};
use k2_sinks::{Lake, LakeConfig, Table};

use super::{VIEWS, all_of, answer, ask, lines, live, offline, rows};
use crate::support::Job;

/// All views but that of the present.
fn views() -> impl Iterator<Item = &'static str> + Clone {
    VIEWS.into_iter().filter(|view| *view != "feed_health")
}

/// A commit, and what was answered after it.
struct Committed {
    /// Of each table.
    snapshots: Vec<(Table, i64)>,
    at: Nanos,
    rows: Vec<Vec<String>>,
}

fn commit(job: &mut Job) -> Committed {
    // So that no two commits have the same time.
    std::thread::sleep(Duration::from_millis(3));
    job.run(8, 60);
    job.commit();
    let tables = offline(job);
    let current = job.lake.snapshots().into_iter().filter(|snapshot| snapshot.is_current);
    let current: Vec<_> = current.collect();
    let anchor = current.iter().find(|snapshot| snapshot.table == Table::ANCHOR).unwrap();
    Committed {
        snapshots: current.iter().map(|it| (it.table, it.snapshot_id)).collect(),
        at: Nanos::from_millis(anchor.timestamp_ms).unwrap(),
        rows: views().map(|view| rows(&tables, &all_of(view))).collect(),
    }
}

/// A job with three commits and rows that are in none.
fn job() -> (Job, Vec<Committed>) {
    let mut job = Job::new();
    let committed = (0..3).map(|_| commit(&mut job)).collect();
    job.run(5, 60);
    (job, committed)
}

fn check(engine: &Engine, at: &At, clause: &str, then: &Committed) {
    for (view, expected) in views().zip(&then.rows) {
        let request = Request::new(all_of(view)).at(at.clone());
        let whole = ask(engine, request).unwrap_or_else(|error| panic!("{view} {at}: {error}"));
        assert_eq!(&lines(&whole), expected, "{view} as of {at}");
        let named = answer(engine, &format!("SELECT {view}.* FROM {view} AT ({clause})"));
        assert_eq!(&lines(&named), expected, "{view} AT ({clause})");
        let anchor = then.snapshots.iter().find(|(table, _)| *table == Table::ANCHOR);
        for meta in [&whole.meta, &named.meta] {
            assert_eq!(meta.snapshot_id, anchor.map(|(_, id)| *id), "{view} as of {at}");
            assert_eq!((meta.sources.live, &meta.moments[..]), (0, &[][..]));
        }
        // The token of the answer brings the same rows, as any does.
        let again = Request::new(all_of(view)).as_of(whole.meta.as_of);
        assert_eq!(&lines(&ask(engine, again).unwrap()), expected, "{view} by its token");
    }
}

#[test]
fn every_view_at_a_snapshot_or_a_time_is_what_it_was() {
    let (job, committed) = job();
    for engine in [live(&job), offline(&job)] {
        for then in &committed {
            let id = then.snapshots[0].1;
            check(&engine, &At::Snapshot(id), &format!("SNAPSHOT {id}"), then);
        }
        let (then, at) = (&committed[1], Nanos(committed[1].at.0 + 500_000));
        check(&engine, &At::Timestamp(at), &format!("TIMESTAMP '{at}'"), then);
    }
}

#[test]
fn a_snapshot_of_any_table_stands_for_the_moment_of_its_batch() {
    let (job, committed) = job();
    let engine = live(&job);
    for (table, id) in &committed[1].snapshots {
        for (view, expected) in views().zip(&committed[1].rows) {
            let then = answer(&engine, &format!("SELECT * FROM {view} AT (SNAPSHOT {id})"));
            assert_eq!(&lines(&then), expected, "{view} at a snapshot of {}", table.as_str());
            assert_eq!(then.meta.snapshots[table.as_str()], *id);
        }
    }
}

#[test]
fn a_tag_names_a_moment_also_for_a_job_that_runs() {
    let (mut job, mut committed) = job();
    let engine = live(&job);
    // As another process would.
    let other = Lake::open_read_only(LakeConfig::new(job.dir.path(), "test")).unwrap();
    let second = committed[1].snapshots[0].1;
    let place = other.tags().unwrap().create("eod", Some(&At::Snapshot(second))).unwrap();
    assert_eq!(place.unwrap().snapshot_id, second);
    let eod = At::Tag("eod".into());
    committed.push(commit(&mut job));
    check(&engine, &eod, "TAG 'eod'", &committed[1]);
    // A name may go to another moment; what is kept must not answer for it.
    assert!(other.tags().unwrap().delete("eod").unwrap());
    let gone = ask(&engine, Request::new("SELECT 1").at(eod.clone())).unwrap_err();
    assert_eq!(gone.code(), "unknown_tag");
    other.tags().unwrap().create("eod", None).unwrap().unwrap();
    check(&engine, &eod, "TAG 'eod'", &committed[3]);
    let near = ask(&engine, Request::new("SELECT 1").at(At::Tag("eodd".into()))).unwrap_err();
    assert!(near.hint().unwrap().contains("eod?"), "{near}");
}

#[test]
fn tables_of_one_question_may_be_at_moments_of_their_own() {
    let (job, committed) = job();
    let engine = live(&job);
    let ids = [0, 1].map(|at: usize| committed[at].snapshots[0].1);
    let [count_then, count_later] =
        ids.map(|id| answer(&engine, &format!("SELECT * FROM trades AT (SNAPSHOT {id})")).rows());
    let sql = format!(
        "SELECT count(*) AS n FROM trades AT (SNAPSHOT {}) AS later
         LEFT ANTI JOIN trades AT (SNAPSHOT {}) AS earlier
         ON later.source = earlier.source AND later.\"partition\" = earlier.\"partition\"
            AND later.\"offset\" = earlier.\"offset\"",
        ids[1], ids[0]
    );
    let new = answer(&engine, &sql);
    assert_eq!(lines(&new), [format!("{{\"n\":{}}}", count_later - count_then)]);
    assert!(count_then > 0 && count_later > count_then);
    let named: Vec<_> = new.meta.moments.iter().map(|moment| moment.snapshot_id).collect();
    assert_eq!(named.len(), 2);
    assert!(ids.iter().all(|id| named.contains(&Some(*id))));
    let sources = new.meta.sources;
    assert_eq!((sources.iceberg, sources.live), ((count_then + count_later) as u64, 0));
    // Live rows on one side, a moment on the other, and a view of each.
    let sql = format!(
        "SELECT count(*) AS n FROM symbols JOIN symbols AT (SNAPSHOT {}) AS earlier
         USING (venue, symbol, raw_symbol) WHERE symbols.trade_count > earlier.trade_count",
        ids[0]
    );
    let grown = answer(&engine, &sql);
    assert_eq!(lines(&grown), [r#"{"n":5}"#]);
    assert_ne!(grown.meta.snapshot_id, Some(ids[0]), "the rest of it is of now");
    let finals = format!("SELECT count(*) FROM ohlcv_1m AT (SNAPSHOT {}) WHERE final", ids[0]);
    assert_eq!(answer(&engine, &finals).rows(), 1);
}

#[test]
fn a_moment_that_is_not_there_is_answered_with_one_that_is() {
    let (job, committed) = job();
    let engine = live(&job);
    let newest = committed[2].snapshots[0].1;
    let first = job.lake.snapshots()[0].clone();
    let refused = |at: At| ask(&engine, Request::new("SELECT * FROM trades").at(at)).unwrap_err();
    let unknown = refused(At::Snapshot(1));
    assert_eq!((unknown.kind(), unknown.code()), (ErrorKind::BadRequest, "unknown_snapshot"));
    assert!(unknown.hint().unwrap().contains(&newest.to_string()), "{unknown}");
    let early = refused(At::Timestamp(Nanos(0)));
    assert_eq!(early.code(), "unknown_snapshot");
    assert!(early.hint().unwrap().contains(&first.snapshot_id.to_string()), "{early}");
    let ahead = refused(At::Timestamp(Nanos(i64::MAX)));
    assert_eq!(ahead.code(), "moment_ahead");
    let tag = refused(At::Tag("eod".into()));
    assert_eq!(tag.code(), "unknown_tag");
    let named = ask(&engine, Request::new("SELECT * FROM trades AT (SNAPSHOT 1)")).unwrap_err();
    assert_eq!(named.code(), "unknown_snapshot");
    let health = format!("SELECT * FROM feed_health AT (SNAPSHOT {newest})");
    assert_eq!(ask(&engine, Request::new(health)).unwrap_err().code(), "no_history");
    let wrong = format!("SELECT * FROM trade AT (SNAPSHOT {newest})");
    let wrong = ask(&engine, Request::new(wrong)).unwrap_err();
    assert_eq!(wrong.code(), "unknown_table");
    let token = answer(&engine, "SELECT 1").meta.as_of;
    // A long chain is a deep tree.
    let chain = vec!["1"; 400].join(" + ");
    let chain = format!("SELECT 1 FROM trades AT (SNAPSHOT 1) WHERE price > {chain}");
    assert_eq!(ask(&engine, Request::new(chain)).unwrap_err().code(), "unknown_snapshot");
    let both = Request::new("SELECT 1").at(At::Snapshot(newest)).as_of(token);
    assert_eq!(ask(&engine, both).unwrap_err().code(), "two_moments");
}

#[test]
fn snapshots_at_a_moment_are_those_of_then() {
    let (job, committed) = job();
    let engine = offline(&job);
    let then = committed[1].snapshots[0].1;
    let current = format!(
        "SELECT snapshot_id FROM snapshots AT (SNAPSHOT {then}) WHERE is_current \
         AND \"table\" = 'trades'"
    );
    assert_eq!(rows(&engine, &current), [format!("{{\"snapshot_id\":{then}}}")]);
}

#[test]
fn explain_tells_pins_and_what_is_read_of_each_side() {
    let (job, committed) = job();
    let engine = live(&job);
    let id = committed[0].snapshots[0].1;
    let sql = format!(
        "EXPLAIN SELECT * FROM trades AT (SNAPSHOT {id}) AS earlier, trades \
         WHERE trades.symbol = 'BTC-USDT' AND earlier.ts_event < 0"
    );
    let text = lines(&answer(&engine, &sql));
    let line = |starts: &str| {
        let found = text.iter().find(|line| line.contains(starts));
        found.unwrap_or_else(|| panic!("no {starts} in {text:#?}")).as_str()
    };
    let now = job.lake.pin().tables[&Table::Trades].clone();
    let current = now.snapshot_id.unwrap();
    line(&format!(
        "now: snapshot {current} of trades, frontier {}, with live rows",
        job.live.frontier()
    ));
    line(&format!("snapshot {id}: snapshot {id} of trades, frontier "));
    // Some files have the bucket of the symbol, and all live chunks may have it.
    let numbers = |line: &str| -> Vec<u64> {
        let after = line.split(": ").last().unwrap();
        after.split(|it: char| !it.is_ascii_digit()).filter_map(|it| it.parse().ok()).collect()
    };
    let [files, files_all, rows, rows_all] =
        numbers(line(&format!("trades of snapshot {current}")))[..]
    else {
        panic!("{text:#?}")
    };
    assert!(0 < files && files < files_all && files_all == now.files.len() as u64, "{text:#?}");
    assert!(0 < rows && rows < rows_all && rows_all == now.rows, "{text:#?}");
    let live = numbers(line("trades that are live"));
    assert!(live[0] > 0 && live[0] == live[1] && live[2] == live[3], "{text:#?}");
    assert_eq!(numbers(line(&format!("trades of snapshot {id}")))[0], 0, "{text:#?}");
    line("physical_plan");
    let analyzed = lines(&answer(&engine, "EXPLAIN ANALYZE SELECT count(*) FROM trades"));
    assert!(analyzed.iter().any(|line| line.contains("trades that are live")), "{analyzed:#?}");
    let json = answer(&engine, "EXPLAIN FORMAT PGJSON SELECT count(*) FROM trades");
    assert_eq!(json.rows(), 1);
}
