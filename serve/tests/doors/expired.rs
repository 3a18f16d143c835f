//! What was there and is no more: another engine has expired it.

use std::sync::Arc;

use k2_serve::{Access, Engine};
use k2_sinks::{Lake, LakeConfig, Snapshot, Table};

use super::keys::{Reply, get, post, post_sql};
use super::{Doors, open, python};
use crate::config;
use crate::support::Job;

fn committed(times: usize) -> Job {
    let mut job = Job::new();
    for _ in 0..times {
        job.run(5, 40);
        job.commit();
    }
    job
}

fn snapshots_of(job: &Job, table: Table) -> Vec<Snapshot> {
    let all = job.lake.snapshots().into_iter();
    all.filter(|snapshot| snapshot.table == table).collect()
}

/// Doors over the tables, after `engine` has expired `snapshots`; `None` where there is no Python.
fn expired_by(engine: &str, job: &Job, snapshots: &[Snapshot]) -> Option<Doors> {
    let table = snapshots[0].table.as_str();
    let mut arguments = vec![job.dir.path().to_str().unwrap(), engine, table];
    let ids: Vec<String> = snapshots.iter().map(|it| it.snapshot_id.to_string()).collect();
    arguments.extend(ids.iter().map(String::as_str));
    python("expire_snapshots.py", &arguments, &[])?;
    let lake = Lake::open_read_only(LakeConfig::new(job.dir.path(), "test")).unwrap();
    Some(open(&Engine::offline(Arc::new(lake), config()).unwrap(), &Access::open()))
}

#[track_caller]
fn is_gone((status, _, body): &Reply) {
    assert!(*status == 410 && body.contains(r#""code":"snapshot_expired""#), "{status} {body}");
}

#[test]
fn a_moment_that_was_expired_is_gone_and_the_oldest_that_is_left_is_named() {
    for engine in ["keeping-parents", "pyiceberg"] {
        let job = committed(3);
        let anchors = snapshots_of(&job, Table::ANCHOR);
        let [gone @ .., left, _newest] = &anchors[..] else { panic!("three commits") };
        let Some(doors) = expired_by(engine, &job, gone) else { return };
        let of_oldest = |reply: Reply| {
            is_gone(&reply);
            let named = format!("the oldest snapshot is {}", left.snapshot_id);
            assert!(reply.2.contains(&named), "{engine}: {}", reply.2);
        };
        for gone in gone {
            let id = gone.snapshot_id;
            let sql = format!("SELECT count(*) FROM trades AT (SNAPSHOT {id})");
            of_oldest(post_sql(&doors, &sql, &[]));
            let path = format!("/v1/snapshots/{id}/query");
            of_oldest(post(&doors, &path, r#"{"data_type": "trades"}"#, &[]));
        }
        let before = "SELECT count(*) FROM trades AT (TIMESTAMP '2001-01-01')";
        of_oldest(post_sql(&doors, before, &[]));
        let never = post_sql(&doors, "SELECT count(*) FROM trades AT (SNAPSHOT 17)", &[]);
        assert!(never.0 == 404 && never.2.contains("unknown_snapshot"), "{engine}: {never:?}");
        let of_left = format!("SELECT count(*) FROM trades AT (SNAPSHOT {})", left.snapshot_id);
        assert_eq!(post_sql(&doors, &of_left, &[]).0, 200);
        assert_eq!(get(&doors, "/v1/snapshots", &[]).0, 200);
    }
}

#[test]
fn a_table_that_has_lost_a_moment_is_not_shown_without_rows() {
    for engine in ["keeping-parents", "pyiceberg"] {
        let job = committed(3);
        let quotes = snapshots_of(&job, Table::Quotes);
        let [gone @ .., _newest] = &quotes[..] else { panic!("three commits") };
        let anchors = snapshots_of(&job, Table::ANCHOR);
        let [.., earlier, newest] = &anchors[..] else { panic!("three commits") };
        let Some(doors) = expired_by(engine, &job, gone) else { return };
        let counted = |snapshot: &Snapshot| {
            let id = snapshot.snapshot_id;
            post_sql(&doors, &format!("SELECT count(*) FROM quotes AT (SNAPSHOT {id})"), &[])
        };
        is_gone(&counted(earlier));
        assert_eq!(counted(newest).0, 200, "{engine}");
    }
}
