//! Disks that fail.

use std::path::Path;
use std::sync::Mutex;

use k2_sinks::{Fault, StorageFaults, StorageOperation};

/// Fails at random, but the same for the same seed; at most `left` times, so that work ends.
#[derive(Debug)]
pub struct SeededFaults {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    random: u64,
    left: u32,
}

impl SeededFaults {
    pub fn new(seed: u64, most: u32) -> Self {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { state: Mutex::new(State { random, left: most }) }
    }
}

impl StorageFaults for SeededFaults {
    fn fault(&self, operation: StorageOperation, _path: &Path) -> Option<Fault> {
        let mut state = self.state.lock().unwrap();
        state.random ^= state.random << 13;
        state.random ^= state.random >> 7;
        state.random ^= state.random << 17;
        let random = state.random;
        if state.left == 0 || !random.is_multiple_of(11) || operation == StorageOperation::Exists {
            return None;
        }
        state.left -= 1;
        Some(match random >> 32 & 3 {
            0 => Fault::ErrorBefore,
            1 => Fault::ErrorAfter,
            2 => Fault::ShortWrite,
            _ => Fault::NoSpace,
        })
    }
}

/// Fails when a test says so.
#[derive(Debug, Default)]
pub struct ScriptedFaults {
    /// Operation, part of the path, fault, how often.
    pub script: Mutex<Vec<(StorageOperation, String, Fault, u32)>>,
}

impl ScriptedFaults {
    pub fn add(&self, operation: StorageOperation, path: &str, fault: Fault, times: u32) {
        self.script.lock().unwrap().push((operation, path.to_owned(), fault, times));
    }
}

impl StorageFaults for ScriptedFaults {
    fn fault(&self, operation: StorageOperation, path: &Path) -> Option<Fault> {
        let mut script = self.script.lock().unwrap();
        let path = path.to_string_lossy();
        let line = script.iter_mut().find(|(on, part, _, times)| {
            *on == operation && path.contains(part.as_str()) && *times > 0
        })?;
        line.3 -= 1;
        Some(line.2)
    }
}
