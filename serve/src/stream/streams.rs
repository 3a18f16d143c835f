//! The subscriptions of one server: the hub's task, and who is subscribed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k2_dataflows::live::{Follower, Live};
use k2_model::Instrument;
use k2_operators::kit::metrics::Metrics;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::config::EngineConfig;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::hint::nearest;
use crate::stream::hub::Hub;
use crate::stream::message::{Event, Message};
use crate::stream::moment::Moment;
use crate::stream::reader::{Reader, SNAPSHOT_ROWS_MAX, Step, Until};
use crate::stream::roster::Names;
use crate::stream::spec::Spec;
use crate::stream::texts::Texts;

/// Between two turns of the hub: what comes within it is sent together.
const TURN: Duration = Duration::from_millis(10);
/// Whatever is configured.
const SUBSCRIBERS_MAX: usize = 1_000_000;
/// How long a subscription waits for a job that has just started.
const START_MAX: Duration = Duration::from_secs(5);

type Moments = watch::Receiver<Option<Arc<Moment>>>;

/// All subscriptions of a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Streams(Arc<Inner>);

struct Inner {
    /// `None`: there is no job to follow.
    live: Option<Arc<Live>>,
    config: EngineConfig,
    metrics: Arc<Metrics>,
    /// Tells the positions of this run from those of any other.
    run: u32,
    started: Instant,
    places: Arc<Semaphore>,
    places_max: usize,
    /// `None`: nobody listens.
    moments: watch::Sender<Option<Arc<Moment>>>,
    is_stopping: watch::Sender<bool>,
    is_following: Mutex<bool>,
    texts: Texts,
}

#[allow(clippy::disallowed_methods, reason = "when a reader is due is for the reader alone")]
impl Streams {
    pub(crate) fn new(engine: &Engine, metrics: Arc<Metrics>) -> Self {
        let config = engine.config().clone();
        let places_max = config.streams.subscribers_max.min(SUBSCRIBERS_MAX);
        Self(Arc::new(Inner {
            live: engine.live_side().cloned(),
            metrics,
            run: uuid::Uuid::new_v4().as_fields().0,
            started: Instant::now(),
            places: Arc::new(Semaphore::new(places_max)),
            places_max,
            moments: watch::Sender::new(None),
            is_stopping: watch::Sender::new(false),
            is_following: Mutex::new(false),
            texts: Texts::default(),
            config,
        }))
    }

    /// Ends all subscriptions, once each has what it can still get.
    pub(crate) fn stop(&self) {
        self.0.is_stopping.send_replace(true);
    }

    /// Waits until nobody is subscribed any more.
    pub(crate) async fn drained(&self) {
        let all = u32::try_from(self.0.places_max).expect("there are not so many places");
        // A semaphore that nobody closes gives what it has.
        let _all = self.0.places.acquire_many(all).await;
    }

    /// Subscribes, or says why not.
    pub(crate) async fn subscribe(&self, spec: Spec) -> Result<Subscription> {
        let inner = &self.0;
        let Some(live) = &inner.live else { return Err(unavailable("no_job", "there is no job")) };
        if *inner.is_stopping.borrow() {
            return Err(unavailable("ending", "the job is ending"));
        }
        let Ok(place) = Arc::clone(&inner.places).try_acquire_owned() else {
            inner.metrics.stream_refused.add(1);
            let error =
                format!("there are {} subscriptions, as many as there may be", inner.places_max);
            return Err(unavailable("too_many_subscribers", &error)
                .with_hint("close others, or raise streams.subscribers_max"));
        };
        let place = Place::new(place, Arc::clone(inner));
        self.follow(live);
        let mut moments = inner.moments.subscribe();
        let moment = first_of(&mut moments).await?;
        self.check(&spec, &moment)?;
        let reader = Reader::open(spec, inner.run, &moment);
        Ok(Subscription { reader, moments, place })
    }

    /// Starts the hub, unless it is at work.
    fn follow(&self, live: &Arc<Live>) {
        let mut is_following = self.0.following();
        if !std::mem::replace(&mut *is_following, true) {
            let (inner, live) = (Arc::clone(&self.0), Arc::clone(live));
            tokio::spawn(async move { inner.follow(&live).await });
        }
    }

    fn check(&self, spec: &Spec, moment: &Moment) -> Result<()> {
        let known = self.0.config.instruments.iter().chain(moment.roster.all().iter().copied());
        check_names(&spec.names, &known.collect::<Vec<_>>())?;
        let symbols = spec.names.of(&moment.roster).len();
        let rows = symbols.saturating_mul(spec.snapshot.unwrap_or(1));
        if rows > SNAPSHOT_ROWS_MAX {
            let message = format!(
                "subscribe: a snapshot of {rows} rows is more than the {SNAPSHOT_ROWS_MAX} that \
                 one may have"
            );
            return Err(Error::bad_request("snapshot_too_large", message)
                .with_hint("name fewer symbols, or ask for fewer rows: snapshot=0 is none"));
        }
        Ok(())
    }
}

async fn first_of(moments: &mut Moments) -> Result<Arc<Moment>> {
    let whole = moments.wait_for(|moment| moment.as_ref().is_some_and(|it| it.is_whole()));
    let starting = || unavailable("starting", "the job is still starting");
    let whole = tokio::time::timeout(START_MAX, whole).await.map_err(|_| starting())?;
    whole.ok().and_then(|moment| moment.clone()).ok_or_else(starting)
}

fn unavailable(code: &'static str, reason: &str) -> Error {
    Error::new(ErrorKind::Unavailable, code, format!("subscribe: {reason}"))
        .with_hint("ask again in some seconds")
}

/// Each name must be one that is known, though nothing of it may have come yet.
fn check_names(names: &Names, known: &[Instrument]) -> Result<()> {
    let of_venue = |it: &&Instrument| names.venues.is_empty() || names.venues.contains(&*it.venue);
    let venues: BTreeSet<&str> = known.iter().map(|it| &*it.venue).collect();
    let unknown = names.venues.iter().find(|venue| !venues.contains(&***venue));
    if let Some(venue) = unknown {
        return Err(unknown_name("venue", venue, &venues));
    }
    let symbols: BTreeSet<&str> =
        known.iter().filter(of_venue).flat_map(|it| [&*it.symbol, &*it.raw_symbol]).collect();
    match names.symbols.iter().find(|symbol| !symbols.contains(&***symbol)) {
        Some(symbol) => Err(unknown_name("symbol", symbol, &symbols)),
        None => Ok(()),
    }
}

fn unknown_name(kind: &str, name: &str, known: &BTreeSet<&str>) -> Error {
    let code = if kind == "venue" { "unknown_venue" } else { "unknown_symbol" };
    let error = Error::bad_request(code, format!("subscribe: there is no {kind} {name:?}"));
    let near = nearest(name, known.iter().copied());
    error.with_hint(format!("near it are {}", near.join(", ")))
}

#[allow(clippy::disallowed_methods, reason = "how long nobody has listened is no result")]
impl Inner {
    fn following(&self) -> std::sync::MutexGuard<'_, bool> {
        self.is_following.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_readers(&self) -> bool {
        self.places.available_permits() < self.places_max
    }

    /// Follows the job until it ends, or until nobody has listened for a while.
    async fn follow(&self, live: &Arc<Live>) {
        let history = self.config.streams.history_bytes;
        let follower = live.follow(history);
        let mut hub = Hub::new(follower.begin(), history, self.config.lateness_ns);
        let mut stopping = self.is_stopping.subscribe();
        let mut listened = Instant::now();
        loop {
            let is_last = *stopping.borrow_and_update();
            self.turn(live, &follower, &mut hub, is_last);
            if is_last {
                return;
            }
            if self.has_readers() {
                listened = Instant::now();
            } else if listened.elapsed() > self.config.streams.linger && self.let_go() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(TURN) => {}
                _changed = stopping.changed() => {}
            }
        }
    }

    fn turn(&self, live: &Live, follower: &Follower, hub: &mut Hub, is_last: bool) {
        // A pin waits for a live side that has not reached the seam: the job is starting.
        let frontier = live.frontier();
        let is_reached = live.cold().frontier <= frontier;
        let before = self.moments.borrow().as_ref().map(|moment| moment.frontier);
        if is_reached && (is_last || before != Some(frontier)) {
            let pin = live.pin();
            let taken = follower.take(pin.frontier);
            let moment = hub.turn(pin, taken, is_last);
            self.metrics.stream_history_bytes.set(hub.bytes() as u64);
            self.moments.send_replace(Some(Arc::new(moment)));
        }
    }

    fn count(&self, message: &Message) {
        self.metrics.stream_events.add(1);
        match message.event {
            Event::Skipped => self.metrics.stream_skips.add(1),
            Event::Reset => self.metrics.stream_resets.add(1),
            _ => {}
        }
    }

    /// Waits until all is to end, and the last moment is there.
    async fn last_moment(&self, moments: &mut Moments) {
        // Neither sender goes before the one who waits.
        let _stopping =
            self.is_stopping.subscribe().wait_for(|is_stopping| *is_stopping).await.is_ok();
        let is_last = |moment: &Option<Arc<Moment>>| moment.as_ref().is_none_or(|it| it.is_last);
        let _last = moments.wait_for(is_last).await.is_ok();
    }

    /// Forgets everything, unless somebody has subscribed in the meantime.
    fn let_go(&self) -> bool {
        let mut is_following = self.following();
        if self.has_readers() {
            return false;
        }
        *is_following = false;
        self.moments.send_replace(None);
        self.metrics.stream_history_bytes.set(0);
        true
    }
}

/// One of the places that there are, and what is counted of it.
struct Place {
    _permit: OwnedSemaphorePermit,
    inner: Arc<Inner>,
}

impl Place {
    fn new(permit: OwnedSemaphorePermit, inner: Arc<Inner>) -> Self {
        inner.metrics.stream_subscribers.add(1);
        Self { _permit: permit, inner }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A gauge: to take away is to add what wraps around.
        self.inner.metrics.stream_subscribers.add(1_u64.wrapping_neg());
    }
}

/// One subscription, for as long as it is held.
pub(crate) struct Subscription {
    reader: Reader,
    moments: Moments,
    place: Place,
}

impl Subscription {
    pub(crate) fn run(&self) -> u32 {
        self.place.inner.run
    }

    /// The next message, when there is one; `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            let inner = Arc::clone(&self.place.inner);
            let now = inner.started.elapsed();
            let moment = self.moments.borrow_and_update().clone()?;
            let step = self.reader.next(&moment, now, &inner.texts);
            drop(moment);
            match step {
                Step::Done => return None,
                Step::Send(message) => {
                    inner.count(&message);
                    return Some(message);
                }
                Step::Wait(Until::Moment(latest)) => {
                    // The sender lives as long as the place.
                    let _elapsed = tokio::time::timeout(latest - now, self.moments.changed()).await;
                }
                Step::Wait(Until::Time(due)) => {
                    tokio::select! {
                        () = tokio::time::sleep(due - now) => {}
                        () = inner.last_moment(&mut self.moments) => {}
                    }
                }
            }
        }
    }
}
