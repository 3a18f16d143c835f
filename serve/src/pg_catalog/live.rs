//! Tables of the catalog that have rows.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::error::Result;

use super::table::{self, Row};
use super::{INFORMATION_SCHEMA, PG_CATALOG, SCHEMA_OID, oid_of};
use crate::catalog::{CATALOG, SCHEMA, Scope, is_stored, table_names};
use crate::pg::{Activity, Backend, PG_TYPES, setting_defaults, wire_type};

const DATABASE_OID: i64 = 16_383;
const OWNER: &str = "k2";
/// The access method of stored tables.
const HEAP: &str = "2";

/// Schema, name, columns.
const TABLES: [(&str, &str, &str); 19] = [
    (PG_CATALOG, "pg_namespace", "oid:i nspname:t nspowner:i=10 nspacl:t"),
    (
        PG_CATALOG,
        "pg_class",
        "oid:i relname:t relnamespace:i=2200 reltype:i=0 reloftype:i=0 relowner:i=10 relam:i=2 \
         relfilenode:i=0 reltablespace:i=0 relpages:i=0 reltuples:f=-1 relallvisible:i=0 \
         reltoastrelid:i=0 relhasindex:b=false relisshared:b=false relpersistence:t=p relkind:t \
         relnatts:i relchecks:i=0 relhasrules:b=false relhastriggers:b=false \
         relhassubclass:b=false relrowsecurity:b=false relforcerowsecurity:b=false \
         relispopulated:b=true relreplident:t=n relispartition:b=false relrewrite:i=0 \
         relfrozenxid:i=0 relminmxid:i=0 relacl:t reloptions:t relpartbound:t",
    ),
    (
        PG_CATALOG,
        "pg_attribute",
        "attrelid:i attname:t atttypid:i attstattarget:i=-1 attlen:i attnum:i attndims:i=0 \
         attcacheoff:i=-1 atttypmod:i=-1 attbyval:b=false attalign:t=i attstorage:t=p \
         attcompression:t= attnotnull:b atthasdef:b=false atthasmissing:b=false attidentity:t= \
         attgenerated:t= attisdropped:b=false attislocal:b=true attinhcount:i=0 attcollation:i=0 \
         attacl:t attoptions:t attfdwoptions:t attmissingval:t",
    ),
    (
        PG_CATALOG,
        "pg_type",
        "oid:i typname:t typnamespace:i=11 typowner:i=10 typlen:i typbyval:b=false typtype:t=b \
         typcategory:t typispreferred:b=false typisdefined:b=true typdelim:t=, typrelid:i=0 \
         typsubscript:t=- typelem:i=0 typarray:i=0 typinput:t typoutput:t typreceive:t typsend:t \
         typmodin:t=- typmodout:t=- typanalyze:t=- typalign:t=i typstorage:t=p typnotnull:b=false \
         typbasetype:i=0 typtypmod:i=-1 typndims:i=0 typcollation:i=0 typdefaultbin:t \
         typdefault:t typacl:t",
    ),
    (
        PG_CATALOG,
        "pg_database",
        "oid:i datname:t datdba:i=10 encoding:i=6 datlocprovider:t=c datistemplate:b=false \
         datallowconn:b=true datconnlimit:i=-1 datfrozenxid:i=0 datminmxid:i=0 \
         dattablespace:i=1663 datcollate:t=C datctype:t=C.UTF-8 daticulocale:t daticurules:t \
         datcollversion:t datacl:t",
    ),
    (
        PG_CATALOG,
        "pg_roles",
        "oid:i=10 rolname:t rolsuper:b=false rolinherit:b=true rolcreaterole:b=false \
         rolcreatedb:b=false rolcanlogin:b=true rolreplication:b=false rolconnlimit:i=-1 \
         rolpassword:t rolvaliduntil:t rolbypassrls:b=false rolconfig:t",
    ),
    (
        PG_CATALOG,
        "pg_user",
        "usename:t usesysid:i=10 usecreatedb:b=false usesuper:b=false userepl:b=false \
         usebypassrls:b=false passwd:t valuntil:t useconfig:t",
    ),
    (
        PG_CATALOG,
        "pg_stat_activity",
        "datid:i=16383 datname:t=k2 pid:i leader_pid:i usesysid:i=10 usename:t application_name:t \
         client_addr:t client_hostname:t client_port:i backend_start:z xact_start:z query_start:z \
         state_change:z wait_event_type:t wait_event:t state:t backend_xid:i backend_xmin:i \
         query_id:i query:t backend_type:t",
    ),
    (
        PG_CATALOG,
        "pg_tablespace",
        "oid:i=1663 spcname:t=pg_default spcowner:i=10 spcacl:t spcoptions:t",
    ),
    (PG_CATALOG, "pg_am", "oid:i=2 amname:t=heap amhandler:t amtype:t=t"),
    (
        PG_CATALOG,
        "pg_settings",
        "name:t setting:t unit:t category:t=Session short_desc:t= extra_desc:t context:t=user \
         vartype:t=string source:t=default min_val:t max_val:t enumvals:t boot_val:t reset_val:t \
         sourcefile:t sourceline:i pending_restart:b=false",
    ),
    (
        PG_CATALOG,
        "pg_tables",
        "schemaname:t tablename:t tableowner:t=k2 tablespace:t hasindexes:b=false \
         hasrules:b=false hastriggers:b=false rowsecurity:b=false",
    ),
    (PG_CATALOG, "pg_views", "schemaname:t viewname:t viewowner:t=k2 definition:t"),
    (PG_CATALOG, "pg_get_keywords", "word:t catcode:t=R catdesc:t=reserved"),
    (
        INFORMATION_SCHEMA,
        "schemata",
        "catalog_name:t=k2 schema_name:t schema_owner:t=k2 default_character_set_name:t sql_path:t",
    ),
    (INFORMATION_SCHEMA, "tables", "table_catalog:t=k2 table_schema:t table_name:t table_type:t"),
    (
        INFORMATION_SCHEMA,
        "views",
        "table_catalog:t=k2 table_schema:t table_name:t view_definition:t check_option:t=NONE \
         is_updatable:t=NO is_insertable_into:t=NO",
    ),
    (
        INFORMATION_SCHEMA,
        "columns",
        "table_catalog:t=k2 table_schema:t table_name:t column_name:t ordinal_position:i \
         column_default:t is_nullable:t data_type:t character_maximum_length:i \
         numeric_precision:i numeric_scale:i datetime_precision:i udt_catalog:t=k2 \
         udt_schema:t=pg_catalog udt_name:t is_identity:t=NO is_generated:t=NEVER \
         is_updatable:t=NO",
    ),
    (INFORMATION_SCHEMA, "character_sets", "character_set_name:t=UTF8 character_repertoire:t=UCS"),
];

/// Words that a query must quote to have them as names.
const KEYWORDS: &str = "all and any array as asc between by case cast collate column create cross \
    current_date current_timestamp desc distinct else end except exists false fetch filter for \
    from full group having in inner intersect into is join lateral left like limit natural not \
    null offset on or order outer over partition right select some table then to true union \
    unnest using values when where window with";

pub(super) fn names(schema: &str) -> impl Iterator<Item = &'static str> {
    TABLES.into_iter().filter(move |(of, ..)| *of == schema).map(|(_, name, _)| name)
}

pub(super) async fn table(
    scope: &Arc<Scope>,
    schema: &str,
    name: &str,
) -> Result<Option<Arc<dyn TableProvider>>> {
    let mut known = TABLES.into_iter();
    let Some((.., columns)) = known.find(|(of, known, _)| (*of, *known) == (schema, name)) else {
        return Ok(None);
    };
    let rows = match name {
        "pg_namespace" | "schemata" => namespaces(),
        "pg_class" => classes(scope).await?,
        "pg_attribute" => attributes(scope).await?,
        "columns" => columns_rows(scope).await?,
        "pg_type" => types(),
        "pg_database" => {
            vec![vec![("oid", DATABASE_OID.to_string()), ("datname", CATALOG.to_owned())]]
        }
        "pg_roles" => vec![vec![("rolname", OWNER.to_owned())]],
        "pg_user" => vec![vec![("usename", OWNER.to_owned())]],
        "pg_am" | "pg_tablespace" | "character_sets" => vec![Vec::new()],
        "pg_stat_activity" => activities(scope),
        "pg_settings" => settings(),
        "pg_tables" => listed(true, "schemaname", "tablename"),
        "pg_views" => listed(false, "schemaname", "viewname"),
        "views" => listed(false, "table_schema", "table_name"),
        "tables" => tables(),
        _ => KEYWORDS.split_whitespace().map(|word| vec![("word", word.to_owned())]).collect(),
    };
    table::of(columns, &rows).map(Some)
}

fn namespaces() -> Vec<Row> {
    let known = [(11, PG_CATALOG), (SCHEMA_OID, SCHEMA), (13_000, INFORMATION_SCHEMA)];
    let row = |(oid, name): (i64, &str)| {
        vec![
            ("oid", oid.to_string()),
            ("nspname", name.to_owned()),
            ("schema_name", name.to_owned()),
        ]
    };
    known.map(row).into()
}

/// What the sessions do that the one which asks may know of.
fn activities(scope: &Scope) -> Vec<Row> {
    let row = |activity: Activity| {
        let Activity { number, owner, application, state, query, begun, query_begun, changed } =
            activity;
        let mut row = vec![
            ("pid", number.to_string()),
            ("usename", owner.user),
            ("application_name", application),
            ("backend_start", begun.to_string()),
            ("state_change", changed.to_string()),
            ("state", state.to_owned()),
            ("query", query),
            ("backend_type", "client backend".to_owned()),
        ];
        row.extend(owner.address.map(|address| ("client_addr", address.to_string())));
        row.extend(query_begun.map(|begun| ("query_start", begun.to_string())));
        row
    };
    let sessions = scope.backend.as_ref().map(Backend::activities).unwrap_or_default();
    sessions.into_iter().map(row).collect()
}

/// The tables of ours, or the views.
fn listed(tables: bool, schema: &'static str, name: &'static str) -> Vec<Row> {
    let names = table_names().into_iter().filter(|name| is_stored(name) == tables);
    names.map(|own| vec![(schema, SCHEMA.to_owned()), (name, own)]).collect()
}

fn tables() -> Vec<Row> {
    let row = |name: String| {
        let kind = if is_stored(&name) { "BASE TABLE" } else { "VIEW" };
        vec![
            ("table_schema", SCHEMA.to_owned()),
            ("table_name", name),
            ("table_type", kind.to_owned()),
        ]
    };
    table_names().into_iter().map(row).collect()
}

/// Each table and view of ours, with its columns.
async fn with_columns(scope: &Arc<Scope>) -> Result<Vec<(String, arrow_schema::SchemaRef)>> {
    let mut found = Vec::new();
    for name in table_names() {
        if let Some(provider) = scope.provider(&name).await? {
            found.push((name, provider.schema()));
        }
    }
    Ok(found)
}

fn oid_text(name: &str) -> String {
    oid_of(name).unwrap_or_default().to_string()
}

async fn classes(scope: &Arc<Scope>) -> Result<Vec<Row>> {
    let row = |(name, schema): (String, arrow_schema::SchemaRef)| {
        let is_table = is_stored(&name);
        vec![
            ("oid", oid_text(&name)),
            ("relkind", if is_table { "r" } else { "v" }.to_owned()),
            ("relam", if is_table { HEAP } else { "0" }.to_owned()),
            ("relnatts", schema.fields().len().to_string()),
            ("relname", name),
        ]
    };
    Ok(with_columns(scope).await?.into_iter().map(row).collect())
}

async fn attributes(scope: &Arc<Scope>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, schema) in with_columns(scope).await? {
        for (at, field) in schema.fields().iter().enumerate() {
            let wire = wire_type(field.data_type());
            rows.push(vec![
                ("attrelid", oid_text(&name)),
                ("attname", field.name().clone()),
                ("atttypid", wire.oid().to_string()),
                ("attlen", wire.length().to_string()),
                ("attnum", (at + 1).to_string()),
                ("attndims", i32::from(wire.is_array).to_string()),
                ("atttypmod", wire.modifier.to_string()),
                ("attnotnull", (!field.is_nullable()).to_string()),
            ]);
        }
    }
    Ok(rows)
}

async fn columns_rows(scope: &Arc<Scope>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, schema) in with_columns(scope).await? {
        for (at, field) in schema.fields().iter().enumerate() {
            let wire = wire_type(field.data_type());
            let kind = if wire.is_array { "ARRAY" } else { wire.kind.long_name };
            let array = if wire.is_array { "_" } else { "" };
            let mut row = vec![
                ("table_schema", SCHEMA.to_owned()),
                ("table_name", name.clone()),
                ("column_name", field.name().clone()),
                ("ordinal_position", (at + 1).to_string()),
                ("is_nullable", if field.is_nullable() { "YES" } else { "NO" }.to_owned()),
                ("data_type", kind.to_owned()),
                ("udt_name", format!("{array}{}", wire.kind.name)),
            ];
            if wire.modifier != -1 {
                let (precision, scale) = crate::pg::unpacked(wire.modifier);
                row.push(("numeric_precision", precision.to_string()));
                row.push(("numeric_scale", scale.to_string()));
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

/// Each type and the type of its arrays.
fn types() -> Vec<Row> {
    let functions = |prefix: &str| {
        ["typinput", "typoutput", "typreceive", "typsend"]
            .into_iter()
            .zip(["in", "out", "recv", "send"])
            .map(|(column, end)| (column, format!("{prefix}{end}")))
            .collect::<Vec<_>>()
    };
    let mut rows = Vec::new();
    for kind in PG_TYPES {
        let mut row = vec![
            ("oid", kind.oid.to_string()),
            ("typname", kind.name.to_owned()),
            ("typlen", kind.length.to_string()),
            ("typtype", if kind.category == 'X' { "p" } else { "b" }.to_owned()),
            ("typcategory", kind.category.to_string()),
            ("typarray", kind.array_oid.to_string()),
        ];
        row.extend(functions(kind.name));
        rows.push(row);
        if kind.array_oid != 0 {
            let mut row = vec![
                ("oid", kind.array_oid.to_string()),
                ("typname", format!("_{}", kind.name)),
                ("typlen", "-1".to_owned()),
                ("typcategory", "A".to_owned()),
                ("typelem", kind.oid.to_string()),
                ("typstorage", "x".to_owned()),
            ];
            row.extend(functions("array_"));
            rows.push(row);
        }
    }
    rows
}

fn settings() -> Vec<Row> {
    let row = |(name, value): (&str, &str)| {
        let value = || value.to_owned();
        vec![
            ("name", name.to_owned()),
            ("setting", value()),
            ("boot_val", value()),
            ("reset_val", value()),
        ]
    };
    setting_defaults().map(row).collect()
}
