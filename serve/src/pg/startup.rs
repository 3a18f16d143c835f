//! How a session begins: wishes for encryption, which are declined, then who it is.
//!
//! A key is sent as the password, in clear: as over HTTP, whatever stands in front of K2 encrypts.

use std::collections::BTreeMap;

use super::refusal::Refusal;
use super::sessions::{Registered, Sessions};
use super::settings::Settings;
use super::wire::{Body, Ended, Reader, Writer};
use crate::access::{Access, Client, Policy};

/// Bytes of the first packets, as PostgreSQL bounds them.
const PACKET_BYTES_MAX: usize = 10_000;
/// A client may wish for two kinds of encryption, and then begins.
const WISHES_MAX: usize = 4;

const VERSION_3: u32 = 3;
const WISH_TLS: u32 = 80_877_103;
const WISH_GSS: u32 = 80_877_104;
const CANCEL: u32 = 80_877_102;

/// Who has begun a session, and with which settings.
pub(super) struct Begun {
    pub(super) client: Client,
    /// As the client calls itself.
    pub(super) user: String,
    pub(super) settings: Settings,
}

/// Brings a client in; `None` if it only came to stop the query of another session.
pub(super) async fn begin(
    reader: &mut Reader,
    out: &mut Writer,
    access: &Access,
    sessions: &Sessions,
) -> Result<Option<Begun>, Ended> {
    let Some(mut parameters) = parameters_of(reader, out, sessions).await? else {
        return Ok(None);
    };
    let settings = settings_of(&parameters).map_err(Ended::Wrong)?;
    let client = match access.policy() {
        Policy::Keys => access.identify(Some(&password(reader, out).await?)),
        Policy::Open | Policy::Local => access.identify(None),
    };
    let client =
        client.map_err(|error| Ended::Wrong(Refusal { is_fatal: true, ..Refusal::from(error) }))?;
    let user = parameters.remove("user").unwrap_or_default();
    Ok(Some(Begun { client, user, settings }))
}

async fn parameters_of(
    reader: &mut Reader,
    out: &mut Writer,
    sessions: &Sessions,
) -> Result<Option<BTreeMap<String, String>>, Ended> {
    for _ in 0..WISHES_MAX {
        let packet = reader.packet(PACKET_BYTES_MAX).await?;
        let mut body = Body(&packet);
        match body.u32() {
            Some(WISH_TLS | WISH_GSS) => {
                out.byte(b'N');
                out.send().await?;
            }
            Some(CANCEL) => {
                if let (Some(number), Some(secret)) = (body.u32(), body.u32()) {
                    sessions.cancel(number, secret);
                }
                return Ok(None);
            }
            Some(version) if version >> 16 == VERSION_3 => {
                let parameters = pairs(&mut body).ok_or_else(malformed)?;
                negotiate(out, version & 0xffff, &parameters);
                return Ok(Some(parameters));
            }
            Some(version) => {
                let (major, minor) = (version >> 16, version & 0xffff);
                let message = format!("begin a session in version {major}.{minor} of the protocol");
                let refusal = Refusal::fatal("0A000", message);
                return Err(Ended::Wrong(refusal.with_hint("K2 speaks version 3")));
            }
            None => return Err(malformed()),
        }
    }
    Err(malformed())
}

fn malformed() -> Ended {
    Ended::Wrong(Refusal::fatal("08P01", "begin a session: the first packet is not well formed"))
}

fn pairs(body: &mut Body<'_>) -> Option<BTreeMap<String, String>> {
    let mut pairs = BTreeMap::new();
    loop {
        let name = body.text()?;
        if name.is_empty() {
            return Some(pairs);
        }
        pairs.insert(name, body.text()?);
    }
}

/// Says that this is version 3.0, to a client that would rather have a later one.
fn negotiate(out: &mut Writer, minor: u32, parameters: &BTreeMap<String, String>) {
    let wishes: Vec<&String> = parameters.keys().filter(|name| name.starts_with("_pq_.")).collect();
    if minor == 0 && wishes.is_empty() {
        return;
    }
    out.message(b'v', |body| {
        body.extend((VERSION_3 << 16).to_be_bytes());
        body.extend(u32::try_from(wishes.len()).expect("a packet is small").to_be_bytes());
        wishes.iter().for_each(|name| super::wire::put_text(body, name));
    });
}

/// What a client sets as it begins: parameters of the packet, and those of a command line.
fn settings_of(parameters: &BTreeMap<String, String>) -> Result<Settings, Refusal> {
    let mut settings = Settings::default();
    let fatal = |refusal| Refusal { is_fatal: true, ..refusal };
    for (name, value) in parameters {
        match name.as_str() {
            "user" | "database" => {}
            name if name.starts_with("_pq_.") => {}
            "replication" if matches!(&**value, "false" | "off" | "no" | "0") => {}
            "replication" => {
                return Err(Refusal::fatal("0A000", "begin a session: there is no replication"));
            }
            "options" => {
                let words = value.replace("-c ", "-c").replace("\\ ", " ");
                for word in words.split_whitespace() {
                    let option = word.trim_start_matches("--").trim_start_matches("-c");
                    if let Some((name, value)) = option.split_once('=') {
                        settings.set(&name.replace('-', "_"), value).map_err(fatal)?;
                    }
                }
            }
            _ => {
                settings.set(name, value).map_err(fatal)?;
            }
        }
    }
    Ok(settings)
}

async fn password(reader: &mut Reader, out: &mut Writer) -> Result<String, Ended> {
    const IN_CLEAR: u32 = 3;
    out.message(b'R', |body| body.extend(IN_CLEAR.to_be_bytes()));
    out.send().await?;
    let (tag, body) = reader.tagged().await?;
    match (tag, Body(&body).text()) {
        (b'p', Some(password)) => Ok(password),
        _ => Err(Ended::Wrong(Refusal::fatal("28P01", "let a client in: it sent no password"))),
    }
}

/// Tells a client that it is in.
pub(super) fn welcome(out: &mut Writer, begun: &Settings, registered: &Registered) {
    const IN: u32 = 0;
    out.message(b'R', |body| body.extend(IN.to_be_bytes()));
    for name in super::settings::REPORTED {
        out.texts(b'S', &[name, begun.get(name).unwrap_or_default()]);
    }
    let (number, secret) = registered.key();
    out.message(b'K', |body| {
        body.extend(number.to_be_bytes());
        body.extend(secret.to_be_bytes());
    });
}
