//! Writes trades, quotes and raw messages to the topics of their venues.

use std::collections::BTreeMap;

use k2_model::codec::avro::{QUOTE_SCHEMA, TRADE_SCHEMA, encode_quote, encode_trade, push_frame};
use k2_model::{DataType, Instrument, InstrumentTable, Quote, Trade};

use crate::error::{Error, ErrorKind, Result};
use crate::format::Format;
use crate::producer::{Message, Producer, ProducerOptions};
use crate::registry::{Compatibility, Registry, value_subject};
use crate::settings::KafkaSettings;
use crate::topic_name::{TopicName, TopicPattern, asset_class};
use crate::topics::Topics;

/// Bytes of a record in Avro for which there is room from the start.
const RECORD_BYTES: usize = 512;

/// Writes messages to `market.{asset class}.{data type}.{venue}`, with the symbol as their key.
///
/// Trades and quotes are Avro or raw, as the publisher is told. Book updates are always raw: there
/// is no schema for them. A topic has one format, so raw messages are refused where the registry
/// has a schema.
pub struct Publisher {
    producer: Producer,
    topics: Topics,
    registry: Option<Registry>,
    format: Format,
    instruments: InstrumentTable,
    routes: Vec<Route>,
    /// (venue, data type) → place in `routes`.
    known: BTreeMap<(Box<str>, DataType), usize>,
    /// The way of the message before: most go the same.
    last: Option<(usize, DataType, usize)>,
    /// The record at hand.
    value: Vec<u8>,
}

/// Where messages of a venue and data type go.
struct Route {
    topic: String,
    /// Of Avro.
    schema_id: Option<u32>,
}

impl Publisher {
    /// Connects to the brokers, and to the registry if records are to be Avro.
    ///
    /// # Errors
    /// A broker or the registry cannot be reached, or Avro is wanted without a registry.
    pub fn connect(
        settings: &KafkaSettings,
        format: Format,
        instruments: InstrumentTable,
    ) -> Result<Self> {
        let registry = settings.registry.as_ref().map(Registry::new).transpose()?;
        match (&registry, format) {
            (None, Format::Avro) => {
                let text = "write Avro: its schemas have to be in a registry, and none is named";
                let error = Error::new(ErrorKind::Setting, text);
                return Err(error.with_advice("set kafka.registry, or write raw messages"));
            }
            (Some(registry), _) => registry.check()?,
            (None, Format::Raw) => {}
        }
        Ok(Self {
            producer: Producer::connect(settings, ProducerOptions::default())?,
            topics: Topics::connect(settings)?,
            registry,
            format,
            instruments,
            routes: Vec::new(),
            known: BTreeMap::new(),
            last: None,
            value: Vec::with_capacity(RECORD_BYTES),
        })
    }

    /// Writes a trade: as Avro, or `raw`, which is how its venue sent it. `position` is where it
    /// comes from in the sender's input; see
    /// [`Deliveries::mark`](crate::Deliveries::mark).
    pub fn trade(&mut self, trade: &Trade, raw: &[u8], position: u64) -> Result<()> {
        let route = self.route(trade.instrument, DataType::Trades)?;
        if let Some(schema_id) = self.routes[route].schema_id {
            self.value.clear();
            push_frame(schema_id, &mut self.value);
            encode_trade(trade, &mut self.value);
            return self.send(route, trade.instrument, None, position);
        }
        self.send(route, trade.instrument, Some(raw), position)
    }

    /// Writes a quote, as [`Publisher::trade`] does a trade.
    pub fn quote(&mut self, quote: &Quote, raw: &[u8], position: u64) -> Result<()> {
        let route = self.route(quote.instrument, DataType::Quotes)?;
        if let Some(schema_id) = self.routes[route].schema_id {
            self.value.clear();
            push_frame(schema_id, &mut self.value);
            encode_quote(quote, &mut self.value);
            return self.send(route, quote.instrument, None, position);
        }
        self.send(route, quote.instrument, Some(raw), position)
    }

    /// Writes a book update as it came.
    pub fn depth(&mut self, instrument: Instrument, raw: &[u8], position: u64) -> Result<()> {
        let route = self.route(instrument, DataType::Depth)?;
        self.send(route, instrument, Some(raw), position)
    }

    /// Writes what is no message of `venue` to its topic of raw trades, where whoever reads it
    /// keeps it among the rejects. `false`: the topic holds Avro, and nothing is written.
    pub fn unreadable(&mut self, venue: &str, raw: &[u8], position: u64) -> Result<bool> {
        if self.format == Format::Avro {
            return Ok(false);
        }
        let place = self.route_of(venue, DataType::Trades)?;
        let topic = &self.routes[place].topic;
        let (partition, key, timestamp_ms) = (None, None, None);
        let message = Message { topic, partition, key, value: raw, timestamp_ms, position };
        self.producer.send(message).map(|()| true)
    }

    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// The id of the cluster that is written to.
    pub fn cluster_id(&self) -> &str {
        self.topics.cluster_id()
    }

    /// Sends `raw`, or else the record at hand.
    fn send(
        &self,
        route: usize,
        instrument: Instrument,
        raw: Option<&[u8]>,
        position: u64,
    ) -> Result<()> {
        self.producer.send(Message {
            topic: &self.routes[route].topic,
            partition: None,
            key: Some(instrument.symbol.as_bytes()),
            value: raw.unwrap_or(&self.value),
            // When it is written: what counts for how long the topic keeps it.
            timestamp_ms: None,
            position,
        })
    }

    fn route(&mut self, instrument: Instrument, data_type: DataType) -> Result<usize> {
        let address = instrument.address();
        if let Some((known, of, place)) = self.last
            && (known, of) == (address, data_type)
        {
            return Ok(place);
        }
        let place = self.route_of(&instrument.venue, data_type)?;
        self.last = Some((address, data_type, place));
        Ok(place)
    }

    fn route_of(&mut self, venue: &str, data_type: DataType) -> Result<usize> {
        let key = (Box::from(venue), data_type);
        if let Some(place) = self.known.get(&key) {
            return Ok(*place);
        }
        let class = asset_class(venue, &self.instruments);
        let name = TopicName::new(class, data_type, venue)?;
        let topic = name.to_string();
        self.check_topic(&topic, venue)?;
        let schema_id = self.schema_of(&name)?;
        self.routes.push(Route { topic, schema_id });
        self.known.insert(key, self.routes.len() - 1);
        Ok(self.routes.len() - 1)
    }

    fn check_topic(&self, topic: &str, venue: &str) -> Result<()> {
        let only: TopicPattern = topic.parse()?;
        match self.topics.list(&only) {
            Err(error) if error.kind() == ErrorKind::UnknownTopic => {
                let text = format!("write to topic {topic}: it does not exist");
                let error = Error::new(ErrorKind::UnknownTopic, text);
                Err(error.with_advice(format!("make it with `k2 topics create --venue {venue}`")))
            }
            listed => listed.map(drop),
        }
    }

    /// The schema's id, if records of that topic are written as Avro.
    fn schema_of(&self, topic: &TopicName) -> Result<Option<u32>> {
        let Some(registry) = &self.registry else { return Ok(None) };
        if self.format == Format::Avro
            && let Some(id) = register(registry, topic)?
        {
            return Ok(Some(id));
        }
        if registry.has_subject(&value_subject(&topic.to_string()))? {
            let text = format!(
                "write raw messages to topic {topic}: the registry has a schema for it, so it \
                 holds Avro"
            );
            let error = Error::new(ErrorKind::Invalid, text);
            return Err(error.with_advice("write Avro, or delete the subject from the registry"));
        }
        Ok(None)
    }
}

/// Registers the schema of what `topic` holds, as one that readers of older and newer ones can
/// follow; its id. `None`: there is no schema of book updates, which are always raw.
pub fn register(registry: &Registry, topic: &TopicName) -> Result<Option<u32>> {
    let schema = match topic.data_type {
        DataType::Trades => TRADE_SCHEMA,
        DataType::Quotes => QUOTE_SCHEMA,
        DataType::Depth => return Ok(None),
    };
    let subject = value_subject(&topic.to_string());
    if !registry.has_subject(&subject)? {
        // Registries differ in what they allow by default.
        registry.set_compatibility(&subject, Compatibility::Backward)?;
    }
    registry.register(&subject, schema).map(Some)
}
