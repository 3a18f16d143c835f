//! Asks a server as a Rust program asks PostgreSQL, through tokio-postgres, and holds each answer
//! against another way to say the same.
//!
//!   k2-clients HOST PORT ENDLESS    where ENDLESS is a question that does not end by itself

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use rust_decimal::Decimal;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};

type Tried = Result<(), Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Tried {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().ok_or("k2-clients HOST PORT ENDLESS");
    let (host, port, endless) = (argument()?, argument()?.parse()?, argument()?);
    let mut config = Config::new();
    config.host(host).port(port).user("somebody").dbname("k2").application_name("k2-clients");
    let (mut client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    values_have_types_of_their_own(&client).await?;
    parameters_are_bound(&client).await?;
    rows_come_in_parts(&mut client).await?;
    errors_have_a_state_and_end_nothing(&client).await?;
    a_question_is_cancelled(&client, &endless).await?;
    println!("tokio-postgres has what it asked for");
    Ok(())
}

async fn values_have_types_of_their_own(client: &Client) -> Tried {
    let rows = client
        .query(
            "SELECT price, CAST(price AS TEXT) AS written, ts, ts_event, conditions, side, \
             vendor_data FROM trades ORDER BY ts_event, sequence",
            &[],
        )
        .await?;
    assert!(rows.len() > 100, "{} rows", rows.len());
    for row in &rows {
        let (price, written): (Decimal, String) = (row.get("price"), row.get("written"));
        assert_eq!(price.to_string(), written);
        let (time, nanos): (DateTime<Utc>, i64) = (row.get("ts"), row.get("ts_event"));
        assert_eq!(time.timestamp_micros(), nanos.div_euclid(1_000));
        let conditions: Vec<String> = row.get("conditions");
        assert!(conditions.iter().all(|condition| condition == "@"));
        assert!(["BUY", "SELL"].contains(&row.get::<_, &str>("side")));
    }
    let all = client
        .query_one(
            "SELECT true, 7, 1.5::float8, X'00ff', NULL, DATE '2024-08-09', 'it''s', \
             -0.000000000001",
            &[],
        )
        .await?;
    assert!(all.get::<_, bool>(0));
    assert_eq!((all.get::<_, i64>(1), all.get::<_, f64>(2)), (7, 1.5));
    assert_eq!(all.get::<_, &[u8]>(3), [0, 255]);
    assert_eq!(all.get::<_, Option<&str>>(4), None);
    assert_eq!(all.get::<_, chrono::NaiveDate>(5).to_string(), "2024-08-09");
    assert_eq!(all.get::<_, &str>(6), "it's");
    assert_eq!(all.get::<_, Decimal>(7), Decimal::new(-1, 12));
    Ok(())
}

async fn parameters_are_bound(client: &Client) -> Tried {
    let statement = client
        .prepare(
            "SELECT count(*) FROM trades WHERE symbol = $1 AND price >= $2 AND ts < $3 AND \
             ts_event >= $4",
        )
        .await?;
    let kinds = [Type::TEXT, Type::NUMERIC, Type::TIMESTAMPTZ, Type::INT8];
    assert_eq!(statement.params(), kinds);
    let until: DateTime<Utc> = "2030-01-01T00:00:00Z".parse()?;
    let (least, from) = (Decimal::new(1, 6), 0_i64);
    let bound = client.query_one(&statement, &[&"BTC-USDT", &least, &until, &from]).await?;
    let written = client
        .query_one(
            "SELECT count(*) FROM trades WHERE symbol = 'BTC-USDT' AND price >= 0.000001",
            &[],
        )
        .await?;
    let (bound, written): (i64, i64) = (bound.get(0), written.get(0));
    assert!(bound > 0 && bound == written, "{bound} and {written}");
    let nothing = client.query_one(&statement, &[&"x' OR '1' = '1", &least, &until, &from]).await?;
    assert_eq!(nothing.get::<_, i64>(0), 0);
    let few = client.prepare("SELECT sequence FROM trades ORDER BY 1 LIMIT $1 OFFSET $2").await?;
    assert_eq!(few.params(), [Type::INT8, Type::INT8]);
    assert_eq!(client.query(&few, &[&3_i64, &1_i64]).await?.len(), 3);
    let venues: Vec<&str> = vec!["BINANCE", "BINANCE_USDM"];
    let any = "SELECT count(DISTINCT venue) FROM trades WHERE venue = ANY($1)";
    assert_eq!(client.query_one(any, &[&venues]).await?.get::<_, i64>(0), 2);
    Ok(())
}

/// As a program reads what is too large for it.
async fn rows_come_in_parts(client: &mut Client) -> Tried {
    let question = "SELECT \"offset\" FROM trades ORDER BY ts_event, sequence";
    let whole: Vec<i64> = client.query(question, &[]).await?.iter().map(|row| row.get(0)).collect();
    let streamed = client.query_raw(question, Vec::<String>::new()).await?;
    let streamed: Vec<i64> = streamed.map_ok(|row| row.get::<_, i64>(0)).try_collect().await?;
    assert_eq!(streamed, whole);
    let transaction = client.transaction().await?;
    let portal = transaction.bind(question, &[]).await?;
    let mut parts: Vec<i64> = Vec::new();
    loop {
        let rows = transaction.query_portal(&portal, 40).await?;
        assert!(rows.len() <= 40);
        parts.extend(rows.iter().map(|row| row.get::<_, i64>(0)));
        if rows.len() < 40 {
            break;
        }
    }
    transaction.rollback().await?;
    assert_eq!(parts, whole);
    Ok(())
}

fn state(error: &Error) -> &str {
    error.code().map_or("none", |code| code.code())
}

async fn errors_have_a_state_and_end_nothing(client: &Client) -> Tried {
    for (question, expected) in [
        ("SELECT * FROM trade", "42P01"),
        ("SELECT pric FROM trades", "42703"),
        ("SELECT coutn(*) FROM trades", "42883"),
        ("SELEC 1", "42601"),
        ("DELETE FROM trades", "25006"),
        ("SELECT 1/0", "22012"),
    ] {
        let error = client.query(question, &[]).await.expect_err(question);
        assert_eq!(state(&error), expected, "{question}: {error}");
        assert!(!error.as_db_error().ok_or("no error of the server")?.message().is_empty());
    }
    let several = client.simple_query("SELECT 1 AS one; SELECT 'two' AS two").await?;
    let values = several.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    assert_eq!(values.collect::<Vec<_>>(), ["1", "two"]);
    Ok(())
}

async fn a_question_is_cancelled(client: &Client, endless: &str) -> Tried {
    let token = client.cancel_token();
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(NoTls).await
    };
    let (cancelled, asked) = futures_util::join!(cancel, client.query(endless, &[]));
    cancelled?;
    let error = asked.expect_err("it does not end by itself");
    assert_eq!(state(&error), "57014", "{error}");
    assert_eq!(client.query_one("SELECT 1", &[]).await?.get::<_, i64>(0), 1);
    Ok(())
}
