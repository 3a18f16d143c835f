//! What was there and is no more: another engine has expired it.

use std::sync::Arc;

use k2_serve::{Access, Engine};
use k2_sinks::{Lake, LakeConfig, Table};

use super::keys::{Reply, get, post_sql};
use super::{open, python};
use crate::config;
use crate::support::Job;

#[test]
fn a_moment_that_was_expired_is_gone_and_the_oldest_that_is_left_is_named() {
    let mut job = Job::new();
    for _ in 0..3 {
        job.run(5, 40);
        job.commit();
    }
    let mut anchors = job.lake.snapshots();
    anchors.retain(|snapshot| snapshot.table == Table::ANCHOR);
    let [.., expired, left, _newest] = &anchors[..] else { panic!("three commits") };
    let ids: Vec<String> = anchors
        .iter()
        .take_while(|snapshot| snapshot.snapshot_id != left.snapshot_id)
        .map(|snapshot| snapshot.snapshot_id.to_string())
        .collect();
    let mut arguments = vec![job.dir.path().to_str().unwrap(), Table::ANCHOR.as_str()];
    arguments.extend(ids.iter().map(String::as_str));
    let Some(_done) = python("expire_snapshots.py", &arguments, &[]) else { return };
    let lake = Lake::open_read_only(LakeConfig::new(job.dir.path(), "test")).unwrap();
    let doors = open(&Engine::offline(Arc::new(lake), config()).unwrap(), &Access::open());
    let is_gone = |(status, _, body): Reply| {
        assert!(status == 410 && body.contains(r#""code":"snapshot_expired""#), "{status} {body}");
        let named = format!("the oldest snapshot is {}", left.snapshot_id);
        assert!(body.contains(&named), "{body}");
    };
    let id = expired.snapshot_id;
    is_gone(post_sql(&doors, &format!("SELECT count(*) FROM trades AT (SNAPSHOT {id})"), &[]));
    let before = "SELECT count(*) FROM trades AT (TIMESTAMP '2001-01-01')";
    is_gone(post_sql(&doors, before, &[]));
    let path = format!("/v1/snapshots/{id}/query");
    is_gone(super::keys::post(&doors, &path, r#"{"data_type": "trades"}"#, &[]));
    let of_left = format!("SELECT count(*) FROM trades AT (SNAPSHOT {})", left.snapshot_id);
    assert_eq!(post_sql(&doors, &of_left, &[]).0, 200);
    assert_eq!(get(&doors, "/v1/snapshots", &[]).0, 200);
}
