//! `GET /health`: whether the job and what it depends on are well.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::ServerState;
use super::reply::{JSON, body_of};

/// What the job is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    Running,
    /// It waits for something outside: the disk is full, the catalog is busy.
    Stalled {
        reason: String,
    },
    /// It has stopped and will not go on by itself.
    Failed {
        reason: String,
    },
}

/// Asked at each `GET /health`; must not block.
pub type HealthSource = Arc<dyn Fn() -> JobState + Send + Sync>;

/// The server answers, so it lives. The tables are reached by the job alone: a job that stalls
/// on them says so. 503 unless everything is well.
pub(super) async fn health(State(state): State<ServerState>) -> Response {
    let job = (state.health)();
    let (frontier, snapshot_id) = state.engine.stands_at();
    let (job, tables) = match &job {
        JobState::Running => (json!({"status": "running"}), "ok"),
        JobState::Stalled { reason } => {
            (json!({"status": "stalled", "reason": without_places(reason)}), "unreachable")
        }
        JobState::Failed { reason } => {
            (json!({"status": "failed", "reason": without_places(reason)}), "ok")
        }
    };
    let is_well = job["status"] == "running";
    let health = json!({
        "status": if is_well { "healthy" } else { "unhealthy" },
        "dependencies": {
            "job": job,
            "tables": {"status": tables, "snapshot_id": snapshot_id},
            "queries": {"status": "ok", "frontier": frontier},
        },
    });
    let mut response = body_of(JSON, health.to_string().into_bytes());
    if !is_well {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// `reason` with the names of files alone, as where they are is not for everyone. The log has it.
fn without_places(reason: &str) -> String {
    let named = reason.split(' ').map(|word| {
        let is_place =
            word.contains("://") || word.trim_start_matches(['"', '\'', '(']).starts_with('/');
        let name = word.rsplit('/').next().unwrap_or(word);
        if is_place { name } else { word }
    });
    named.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_files_are_is_not_told() {
        let reason =
            "write data file file:///srv/k2/trades/data/k2-1.parquet; free space (os error 28)";
        let told = "write data file k2-1.parquet; free space (os error 28)";
        assert_eq!(without_places(reason), told);
        assert_eq!(without_places("open '/srv/k2/lock': 1/2"), "open lock': 1/2");
    }
}
