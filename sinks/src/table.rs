//! The tables: names, schemas, partitions, sort orders, properties.

use std::sync::Arc;

use iceberg::spec::{
    ListType, MapType, NestedField, NestedFieldRef, NullOrder, PrimitiveType, Schema,
    SortDirection, SortField, SortOrder, Transform, Type, UnboundPartitionSpec,
};
use iceberg::{NamespaceIdent, TableCreation, TableIdent};

use crate::error::{Error, Result};

/// The namespace of every table.
pub const NAMESPACE: &str = "market_data";

/// Buckets of the symbol partition.
pub const BUCKETS: u32 = 16;

/// A table of the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    Trades,
    Quotes,
    Rejects,
    Gaps,
}

impl Table {
    pub const ALL: [Self; 4] = [Self::Trades, Self::Quotes, Self::Rejects, Self::Gaps];

    /// The table whose commit closes a batch, and whose summary has the job's position.
    pub const ANCHOR: Self = Self::Trades;

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trades => "trades",
            Self::Quotes => "quotes",
            Self::Rejects => "rejects",
            Self::Gaps => "gaps",
        }
    }

    pub(crate) fn ident(self) -> TableIdent {
        TableIdent::new(namespace(), self.as_str().to_owned())
    }

    pub(crate) fn creation(self) -> Result<TableCreation> {
        let described = || format!("describe table {}", self.as_str());
        let schema = self.schema().map_err(|error| Error::of(described(), error))?;
        let spec = self.partition_spec(&schema).map_err(|error| Error::of(described(), error))?;
        let order = self.sort_order(&schema).map_err(|error| Error::of(described(), error))?;
        Ok(TableCreation::builder()
            .name(self.as_str().to_owned())
            .schema(schema)
            .partition_spec(spec)
            .sort_order(order)
            .properties(properties())
            .build())
    }

    fn schema(self) -> iceberg::Result<Schema> {
        let mut columns = Columns::default();
        match self {
            Self::Trades => trade_columns(&mut columns),
            Self::Quotes => quote_columns(&mut columns),
            Self::Rejects => reject_columns(&mut columns),
            Self::Gaps => gap_columns(&mut columns),
        }
        Schema::builder().with_fields(columns.fields).build()
    }

    fn partition_spec(self, schema: &Schema) -> iceberg::Result<UnboundPartitionSpec> {
        let id = |name| id_of(schema, name);
        let spec = UnboundPartitionSpec::builder().with_spec_id(0);
        let spec = spec.add_partition_field(id("ts")?, "ts_day", Transform::Day)?;
        Ok(match self {
            Self::Rejects => spec,
            _ => spec.add_partition_field(
                id("symbol")?,
                "symbol_bucket",
                Transform::Bucket(BUCKETS),
            )?,
        }
        .build())
    }

    fn sort_order(self, schema: &Schema) -> iceberg::Result<SortOrder> {
        let names: &[&str] = match self {
            Self::Trades | Self::Quotes => &["symbol", "ts", "sequence"],
            Self::Rejects => &["ts"],
            Self::Gaps => &["symbol", "ts"],
        };
        let mut order = SortOrder::builder();
        order.with_order_id(1);
        for name in names {
            order.with_sort_field(
                SortField::builder()
                    .source_id(id_of(schema, name)?)
                    .transform(Transform::Identity)
                    .direction(SortDirection::Ascending)
                    .null_order(NullOrder::First)
                    .build(),
            );
        }
        order.build(schema)
    }
}

pub(crate) fn namespace() -> NamespaceIdent {
    NamespaceIdent::new(NAMESPACE.to_owned())
}

fn id_of(schema: &Schema, name: &str) -> iceberg::Result<i32> {
    schema.field_id_by_name(name).ok_or_else(|| {
        iceberg::Error::new(iceberg::ErrorKind::DataInvalid, format!("no column {name}"))
    })
}

fn properties() -> Vec<(String, String)> {
    [
        ("write.metadata.compression-codec", "gzip"),
        ("write.metadata.previous-versions-max", "100"),
        ("write.parquet.compression-codec", "zstd"),
        ("write.parquet.compression-level", "1"),
        ("history.expire.min-snapshots-to-keep", "200"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// Columns in order. The ids given here are only unique: creation numbers them anew.
#[derive(Default)]
struct Columns {
    fields: Vec<NestedFieldRef>,
    last_id: i32,
}

impl Columns {
    fn id(&mut self) -> i32 {
        self.last_id += 1;
        self.last_id
    }

    fn required(&mut self, names: &[&str], kind: PrimitiveType) {
        for name in names {
            let field = NestedField::required(self.id(), *name, Type::Primitive(kind.clone()));
            self.fields.push(Arc::new(field));
        }
    }

    fn optional(&mut self, name: &str, kind: PrimitiveType) {
        let field = NestedField::optional(self.id(), name, Type::Primitive(kind));
        self.fields.push(Arc::new(field));
    }

    fn texts(&mut self, name: &str) {
        let id = self.id();
        let text = Type::Primitive(PrimitiveType::String);
        let element = NestedField::list_element(self.id(), text, true);
        let list = Type::List(ListType::new(Arc::new(element)));
        self.fields.push(Arc::new(NestedField::required(id, name, list)));
    }

    fn pairs(&mut self, name: &str) {
        let id = self.id();
        let text = || Type::Primitive(PrimitiveType::String);
        let key = NestedField::map_key_element(self.id(), text());
        let value = NestedField::map_value_element(self.id(), text(), true);
        let map = Type::Map(MapType::new(Arc::new(key), Arc::new(value)));
        self.fields.push(Arc::new(NestedField::required(id, name, map)));
    }
}

/// Digits of a decimal, in all and after the point.
pub(crate) const DECIMAL_DIGITS: u8 = 38;
pub(crate) const DECIMAL_SCALE: i8 = 12;

const DECIMAL: PrimitiveType =
    PrimitiveType::Decimal { precision: DECIMAL_DIGITS as u32, scale: DECIMAL_SCALE as u32 };

fn trade_columns(columns: &mut Columns) {
    columns.required(&["venue", "symbol", "raw_symbol", "asset_class"], PrimitiveType::String);
    columns.required(&["trade_id", "sequence"], PrimitiveType::Long);
    columns.required(&["ts"], PrimitiveType::Timestamptz);
    columns.required(&["ts_event", "ts_recv"], PrimitiveType::Long);
    columns.required(&["price", "quantity"], DECIMAL);
    columns.optional("currency", PrimitiveType::String);
    columns.required(&["side"], PrimitiveType::String);
    common_tail(columns);
}

fn quote_columns(columns: &mut Columns) {
    columns.required(&["venue", "symbol", "raw_symbol", "asset_class"], PrimitiveType::String);
    columns.required(&["sequence"], PrimitiveType::Long);
    columns.required(&["ts"], PrimitiveType::Timestamptz);
    columns.required(&["ts_event", "ts_recv"], PrimitiveType::Long);
    columns.required(&["bid_price", "bid_quantity", "ask_price", "ask_quantity"], DECIMAL);
    columns.optional("currency", PrimitiveType::String);
    common_tail(columns);
}

fn common_tail(columns: &mut Columns) {
    columns.texts("conditions");
    columns.pairs("vendor_data");
    columns.required(&["source"], PrimitiveType::String);
    columns.required(&["partition"], PrimitiveType::Int);
    columns.required(&["offset"], PrimitiveType::Long);
    columns.required(&["message_id"], PrimitiveType::String);
}

fn reject_columns(columns: &mut Columns) {
    columns.required(&["venue", "source"], PrimitiveType::String);
    columns.required(&["partition"], PrimitiveType::Int);
    columns.required(&["offset"], PrimitiveType::Long);
    columns.optional("ts", PrimitiveType::Timestamptz);
    columns.optional("ts_recv", PrimitiveType::Long);
    columns.required(&["reason", "detail"], PrimitiveType::String);
    columns.required(&["raw"], PrimitiveType::Binary);
    columns.optional("schema_id", PrimitiveType::Int);
}

fn gap_columns(columns: &mut Columns) {
    columns.required(&["venue", "symbol", "raw_symbol", "data_type"], PrimitiveType::String);
    columns.required(&["first_missing", "last_missing", "missing"], PrimitiveType::Long);
    columns.required(&["revealed_ts"], PrimitiveType::Long);
    columns.optional("healed_ts", PrimitiveType::Long);
    columns.required(&["cause"], PrimitiveType::String);
    columns.required(&["diff"], PrimitiveType::Int);
    columns.required(&["ts"], PrimitiveType::Timestamptz);
    columns.required(&["source"], PrimitiveType::String);
    columns.required(&["partition"], PrimitiveType::Int);
    columns.required(&["offset"], PrimitiveType::Long);
}
