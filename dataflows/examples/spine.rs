use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use k2_dataflows::{Job, JobConfig, JobOptions};
use k2_model::{InstrumentTable, Nanos};
use k2_operators::ingest::{Clock, Input};
use k2_sinks::{Lake, LakeConfig};

struct Real;
impl Clock for Real {
    fn now(&self) -> Nanos {
        Nanos(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as i64)
    }
    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let dir = &args[1];
    let workers: usize = args[2].parse().unwrap();
    let inputs = args[3..].iter().map(|path| {
        let (venue, path) = path.split_once('=').unwrap_or(("BINANCE", path));
        let venue = if venue == "BINANCE_USDM" { "BINANCE_USDM" } else { "BINANCE" };
        Input::file(venue, path.as_ref()).unwrap()
    });
    let inputs = inputs.collect();
    let begun = Instant::now();
    let lake = Arc::new(Lake::open(LakeConfig::new(dir, "market")).unwrap());
    let options = JobOptions {
        workers,
        speed: None,
        exit_at_end: true,
        inputs,
        instruments: InstrumentTable::shipped(),
        clock: Arc::new(Real),
        config: JobConfig::default(),
    };
    let job = Job::start(lake, options).unwrap();
    eprintln!("started {:?}", begun.elapsed());
    let metrics = job.metrics();
    let ended = job.wait();
    let elapsed = begun.elapsed();
    for (name, _, _, value) in metrics.all() {
        println!("{name} {value}");
    }
    println!("{ended:?} {elapsed:?} {:.0}/s", metrics.ingest_records.get() as f64 / elapsed.as_secs_f64());
    println!("{}", std::fs::read_to_string("/proc/self/status").unwrap().lines().filter(|l| l.starts_with("VmHWM")).collect::<String>());
}
