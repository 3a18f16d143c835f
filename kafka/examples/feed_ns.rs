//! How fast are raw messages decoded, encoded and delivered?
//!
//! `feed_ns BROKERS REGISTRY FILE TIMES` writes the lines of a file, again and again, as Avro.

#![allow(clippy::disallowed_methods, reason = "it measures with the clock")]

use std::time::{Duration, Instant};

use k2_kafka::{
    Feeder, Format, KafkaSettings, Registry, RegistrySettings, TopicName, TopicSpec, Topics,
    asset_class, register, value_subject,
};
use k2_model::codec::VENUES;
use k2_model::codec::avro::{QUOTE_SCHEMA, TRADE_SCHEMA};
use k2_model::{DataType, InstrumentTable, Origin};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, registry, file, times] = &arguments[..] else {
        return Err("feed_ns BROKERS REGISTRY FILE TIMES".into());
    };
    let registry = RegistrySettings { url: registry.clone(), user: None, password: None, ca: None };
    let settings = KafkaSettings {
        brokers: brokers.clone(),
        properties: Default::default(),
        registry: Some(registry.clone()),
    };
    let (venue, instruments) = (VENUES[0], InstrumentTable::shipped());
    for data_type in DataType::ALL {
        let name = TopicName::new(asset_class(venue, &instruments), data_type, venue)?;
        Topics::connect(&settings)?
            .create(&[TopicSpec { partitions: 8, ..TopicSpec::new(&name) }])?;
        let schema = match data_type {
            DataType::Trades => TRADE_SCHEMA,
            DataType::Quotes => QUOTE_SCHEMA,
            DataType::Depth => continue,
        };
        register(&Registry::new(&registry)?, &value_subject(&name.to_string()), schema)?;
    }
    let bytes = std::fs::read(file)?;
    let mut feeder = Feeder::connect(&settings, Format::Avro, venue, &instruments)?;
    let (begun, mut position, origin) = (Instant::now(), 0, Origin::new("feed", 0));
    for _ in 0..times.parse()? {
        for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            feeder.feed(line, origin, position)?;
            position += 1;
        }
    }
    feeder.publisher().producer().flush(Duration::from_secs(300))?;
    let elapsed = begun.elapsed().as_secs_f64();
    println!("{position} messages in {elapsed:.2} s: {:.0} a second", position as f64 / elapsed);
    Ok(())
}
