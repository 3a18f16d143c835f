//! What clients ask of the catalog as they start and browse.

use std::collections::BTreeMap;

use crate::support::Job;
use crate::{answer, live, rows};

/// As pgjdbc and DBeaver send them.
const DBEAVER: [&str; 14] = [
    "SELECT current_schema(),session_user",
    "SELECT n.oid,n.*,d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN \
     pg_catalog.pg_description d ON d.objoid=n.oid AND d.objsubid=0 AND \
     d.classoid='pg_namespace'::regclass ORDER BY nspname",
    "SELECT n.nspname = ANY(current_schemas(true)), n.nspname, t.typname FROM pg_catalog.pg_type t \
     JOIN pg_catalog.pg_namespace n ON t.typnamespace = n.oid WHERE t.oid = 1034",
    "SELECT db.oid,db.* FROM pg_catalog.pg_database db WHERE datname='k2'",
    "SELECT * FROM pg_catalog.pg_settings where name='standard_conforming_strings'",
    "SELECT string_agg(word, ',' ) from pg_catalog.pg_get_keywords() where word <> ALL \
     ('{a,abs,absolute,action,all,select}'::text[])",
    "SELECT version()",
    "SELECT * FROM pg_catalog.pg_enum WHERE 1<>1 LIMIT 1",
    "SELECT reltype FROM pg_catalog.pg_class WHERE 1<>1 LIMIT 1",
    "SELECT t.oid,t.*,c.relkind,format_type(nullif(t.typbasetype, 0), t.typtypmod) as \
     base_type_name, d.description FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_type et \
     ON et.oid=t.typelem LEFT OUTER JOIN pg_catalog.pg_class c ON c.oid=t.typrelid LEFT OUTER JOIN \
     pg_catalog.pg_description d ON t.oid=d.objoid WHERE t.typname IS NOT NULL AND (c.relkind IS \
     NULL OR c.relkind = 'c') AND (et.typcategory IS NULL OR et.typcategory <> 'C')",
    "SELECT c.oid,c.*,d.description,pg_catalog.pg_get_expr(c.relpartbound, c.oid) as \
     partition_expr, pg_catalog.pg_get_partkeydef(c.oid) as partition_key FROM pg_catalog.pg_class \
     c LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=c.oid AND d.objsubid=0 AND \
     d.classoid='pg_class'::regclass WHERE c.relnamespace=2200 AND c.relkind not in ('i','I','c')",
    "select c.oid,pg_catalog.pg_total_relation_size(c.oid) as total_rel_size, \
     pg_catalog.pg_relation_size(c.oid) as rel_size FROM pg_class c WHERE c.relnamespace=2200",
    "SELECT i.*,i.indkey as keys,c.relname,tc.relname as tabrelname,dsc.description, \
     pg_catalog.pg_get_expr(i.indpred, i.indrelid) as pred_expr, \
     pg_catalog.pg_get_expr(i.indexprs, i.indrelid, true) as expr FROM pg_catalog.pg_index i INNER \
     JOIN pg_catalog.pg_class c ON c.oid=i.indexrelid INNER JOIN pg_catalog.pg_class tc ON \
     tc.oid=i.indrelid LEFT OUTER JOIN pg_catalog.pg_description dsc ON i.indexrelid=dsc.objoid \
     WHERE i.indrelid=16384 ORDER BY tabrelname, c.relname",
    "SELECT c.relname,a.*,pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) as \
     def_value,dsc.description,dep.objid FROM pg_catalog.pg_attribute a INNER JOIN \
     pg_catalog.pg_class c ON (a.attrelid=c.oid) LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON \
     (a.attrelid=ad.adrelid AND a.attnum = ad.adnum) LEFT OUTER JOIN pg_catalog.pg_description dsc \
     ON (c.oid=dsc.objoid AND a.attnum = dsc.objsubid) LEFT OUTER JOIN pg_depend dep on \
     dep.refobjid = a.attrelid AND dep.deptype = 'i' and dep.refobjsubid = a.attnum and \
     dep.classid = dep.refclassid WHERE NOT a.attisdropped AND c.relkind not in ('i','I','c') AND \
     c.oid=16384 ORDER BY a.attnum",
];

/// How Grafana tells whether a schema needs to be named.
const FOUND: &str = "IN (SELECT CASE WHEN trim(s[i]) = '\"$user\"' THEN user ELSE trim(s[i]) END \
    FROM generate_series(array_lower(string_to_array(current_setting('search_path'),','),1), \
    array_upper(string_to_array(current_setting('search_path'),','),1)) as i, \
    string_to_array(current_setting('search_path'),',') s)";

/// As SQLAlchemy, pandas, Metabase and pgAdmin send them.
const OTHERS: [&str; 9] = [
    "select pg_catalog.version()",
    "SELECT pg_catalog.pg_class.relname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON \
     pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace WHERE \
     pg_catalog.pg_class.relname = 'trades' AND pg_catalog.pg_class.relkind = ANY (ARRAY['r', \
     'p', 'f', 'v', 'm']) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND \
     pg_catalog.pg_namespace.nspname != 'pg_catalog'",
    "SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg_%' ORDER BY nspname",
    "SELECT n.nspname schema_name, c.relname table_name FROM pg_catalog.pg_class c LEFT JOIN \
     pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = ANY('{r,p,f}') ORDER BY \
     1,2",
    "SELECT att.attname, att.atttypid::regtype::text type_name FROM pg_catalog.pg_attribute att \
     INNER JOIN pg_catalog.pg_class cls ON att.attrelid = cls.oid WHERE cls.relname = 'trades'",
    "SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema \
     NOT IN ('information_schema', 'pg_catalog')",
    "SELECT schema_name FROM information_schema.schemata",
    "SELECT current_database(), current_user, pg_backend_pid(), pg_is_in_recovery(), \
     has_table_privilege('trades', 'SELECT'), current_setting('server_version_num')",
    "SELECT rolname FROM pg_roles",
];

#[test]
fn dbeaver_and_others_browse_without_an_error() {
    let mut job = Job::new();
    job.run(5, 50);
    let engine = live(&job);
    for sql in DBEAVER.into_iter().chain(OTHERS) {
        answer(&engine, sql);
    }
    let columns = answer(&engine, DBEAVER[13]);
    assert_eq!(
        columns.rows(),
        answer(&engine, "SELECT * FROM trades LIMIT 0").schema.fields().len()
    );
    assert_eq!(rows(&engine, OTHERS[1]), [r#"{"relname":"trades"}"#]);
    assert!(
        rows(&engine, OTHERS[4])
            .contains(&r#"{"attname":"price","type_name":"numeric"}"#.to_owned())
    );
}

#[test]
fn grafana_finds_tables_and_the_types_of_their_columns() {
    let mut job = Job::new();
    job.run(5, 50);
    let engine = live(&job);
    let tables = format!(
        "SELECT CASE WHEN quote_ident(table_schema) {FOUND} THEN quote_ident(table_name) ELSE \
         quote_ident(table_schema) || '.' || quote_ident(table_name) END AS \"table\" FROM \
         information_schema.tables WHERE quote_ident(table_schema) NOT IN ('information_schema', \
         'pg_catalog', '_timescaledb_cache') ORDER BY CASE WHEN quote_ident(table_schema) {FOUND} \
         THEN 0 ELSE 1 END, 1"
    );
    assert!(rows(&engine, &tables).contains(&r#"{"table":"trades"}"#.to_owned()));
    let columns = format!(
        "SELECT quote_ident(column_name) AS \"column\", data_type AS \"type\" FROM \
         information_schema.columns WHERE CASE WHEN array_length(parse_ident('trades'),1) = 2 THEN \
         quote_ident(table_schema) = (parse_ident('trades'))[1] AND quote_ident(table_name) = \
         (parse_ident('trades'))[2] ELSE quote_ident(table_name) = 'trades' AND \
         quote_ident(table_schema) {FOUND} END"
    );
    let found = rows(&engine, &columns);
    for (column, kind) in [
        ("ts", "timestamp with time zone"),
        ("price", "numeric"),
        ("ts_event", "bigint"),
        ("symbol", "text"),
        ("conditions", "ARRAY"),
        ("vendor_data", "json"),
    ] {
        let line = format!(r#"{{"column":"{column}","type":"{kind}"}}"#);
        assert!(found.contains(&line), "{line} in {found:?}");
    }
}

/// How psycopg asks for a type by its name, which SQLAlchemy does for `hstore` at each start.
fn psycopg_asks(name: &str) -> String {
    format!(
        "SELECT\n    typname AS name, oid, typarray AS array_oid,\n    oid::regtype::text AS regtype, \
         typdelim AS delimiter\nFROM pg_type t\nWHERE t.oid = to_regtype('{name}')\nORDER BY t.oid\n"
    )
}

#[test]
fn types_and_tables_are_found_by_name_where_they_are() {
    let mut job = Job::new();
    job.run(5, 50);
    let engine = live(&job);
    assert_eq!(answer(&engine, &psycopg_asks("hstore")).rows(), 0);
    let found =
        r#"{"name":"numeric","oid":1700,"array_oid":1231,"regtype":"numeric","delimiter":","}"#;
    assert_eq!(rows(&engine, &psycopg_asks("numeric")), [found]);
    let sql = "SELECT to_regtype('text[]') AS a, to_regtype('nothing') AS b, \
               to_regclass('market_data.trades') AS c, to_regclass('nothing') AS d";
    assert_eq!(rows(&engine, sql), [r#"{"a":1009,"b":null,"c":16384,"d":null}"#]);
}

/// How asyncpg learns of a type that it does not know, such as the arrays of all but texts.
const ASYNCPG: &str = "WITH RECURSIVE typeinfo_tree(oid, ns, name, kind, basetype, elemtype, \
    elemdelim, range_subtype, attrtypoids, attrnames, depth) AS (SELECT ti.oid, ti.ns, ti.name, \
    ti.kind, ti.basetype, ti.elemtype, ti.elemdelim, ti.range_subtype, ti.attrtypoids, \
    ti.attrnames, 0 FROM INFO AS ti WHERE ti.oid = any('{1016}'::oid[]) UNION ALL SELECT ti.oid, \
    ti.ns, ti.name, ti.kind, ti.basetype, ti.elemtype, ti.elemdelim, ti.range_subtype, \
    ti.attrtypoids, ti.attrnames, tt.depth + 1 FROM INFO ti, typeinfo_tree tt WHERE (tt.elemtype \
    IS NOT NULL AND ti.oid = tt.elemtype) OR (tt.attrtypoids IS NOT NULL AND ti.oid = \
    any(tt.attrtypoids)) OR (tt.range_subtype IS NOT NULL AND ti.oid = tt.range_subtype) OR \
    (tt.basetype IS NOT NULL AND ti.oid = tt.basetype)) SELECT DISTINCT *, \
    basetype::regtype::text AS basetype_name, elemtype::regtype::text AS elemtype_name, \
    range_subtype::regtype::text AS range_subtype_name FROM typeinfo_tree ORDER BY depth DESC";
const ASYNCPG_INFO: &str = "(SELECT t.oid AS oid, ns.nspname AS ns, t.typname AS name, t.typtype \
    AS kind, (CASE WHEN t.typtype = 'd' THEN (WITH RECURSIVE typebases(oid, depth) AS (SELECT \
    t2.typbasetype AS oid, 0 AS depth FROM pg_type t2 WHERE t2.oid = t.oid UNION ALL SELECT \
    t2.typbasetype AS oid, tb.depth + 1 AS depth FROM pg_type t2, typebases tb WHERE tb.oid = \
    t2.oid AND t2.typbasetype != 0) SELECT oid FROM typebases ORDER BY depth DESC LIMIT 1) ELSE \
    NULL END) AS basetype, t.typelem AS elemtype, elem_t.typdelim AS elemdelim, \
    COALESCE(range_t.rngsubtype, multirange_t.rngsubtype) AS range_subtype, (CASE WHEN t.typtype \
    = 'c' THEN (SELECT array_agg(ia.atttypid ORDER BY ia.attnum) FROM pg_attribute ia INNER JOIN \
    pg_class c ON (ia.attrelid = c.oid) WHERE ia.attnum > 0 AND NOT ia.attisdropped AND \
    c.reltype = t.oid) ELSE NULL END) AS attrtypoids, (CASE WHEN t.typtype = 'c' THEN (SELECT \
    array_agg(ia.attname::text ORDER BY ia.attnum) FROM pg_attribute ia INNER JOIN pg_class c ON \
    (ia.attrelid = c.oid) WHERE ia.attnum > 0 AND NOT ia.attisdropped AND c.reltype = t.oid) \
    ELSE NULL END) AS attrnames FROM pg_catalog.pg_type AS t INNER JOIN pg_catalog.pg_namespace \
    ns ON (ns.oid = t.typnamespace) LEFT JOIN pg_type elem_t ON (t.typlen = -1 AND t.typelem != 0 \
    AND t.typelem = elem_t.oid) LEFT JOIN pg_range range_t ON (t.oid = range_t.rngtypid) LEFT \
    JOIN pg_range multirange_t ON (t.oid = multirange_t.rngmultitypid))";

#[test]
fn asyncpg_learns_what_arrays_are_of() {
    let mut job = Job::new();
    job.run(5, 50);
    let engine = live(&job);
    let found = rows(&engine, &ASYNCPG.replace("INFO", ASYNCPG_INFO));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains(r#""name":"_int8""#), "{found:?}");
    assert!(found[0].contains(r#""elemtype_name":"bigint""#), "{found:?}");
    assert!(found[1].contains(r#""name":"int8""#), "{found:?}");
    let count = "WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 5) \
                 SELECT sum(n) AS n FROM t";
    assert_eq!(rows(&engine, count), [r#"{"n":15}"#]);
}

/// How SQLAlchemy's inspector asks for keys and indexes, and whether it knows those that it finds.
const SQLALCHEMY: [&str; 4] = [
    "SELECT pg_catalog.pg_opclass.oid, pg_catalog.pg_opclass.opcname FROM pg_catalog.pg_opclass \
     WHERE NOT pg_catalog.pg_opclass.opcdefault",
    "SELECT attr.conrelid, array_agg(CAST(attr.attname AS TEXT) ORDER BY attr.ord) AS cols, \
     attr.conname, min(attr.description) AS description, min(attr.indnkeyatts) AS indnkeyatts, \
     bool_and(attr.indnullsnotdistinct) AS indnullsnotdistinct FROM (SELECT con.conrelid AS \
     conrelid, con.conname AS conname, con.description AS description, con.ord AS ord, \
     con.indnkeyatts AS indnkeyatts, con.indnullsnotdistinct AS indnullsnotdistinct, \
     pg_catalog.pg_attribute.attname AS attname FROM pg_catalog.pg_attribute JOIN (SELECT \
     pg_catalog.pg_constraint.conrelid AS conrelid, pg_catalog.pg_constraint.conname AS conname, \
     unnest(pg_catalog.pg_index.indkey) AS attnum, \
     generate_subscripts(pg_catalog.pg_index.indkey, 1) AS ord, \
     pg_catalog.pg_index.indnkeyatts AS indnkeyatts, pg_catalog.pg_index.indnullsnotdistinct AS \
     indnullsnotdistinct, pg_catalog.pg_description.description AS description FROM \
     pg_catalog.pg_constraint JOIN pg_catalog.pg_index ON pg_catalog.pg_constraint.conindid = \
     pg_catalog.pg_index.indexrelid LEFT OUTER JOIN pg_catalog.pg_description ON \
     pg_catalog.pg_description.objoid = pg_catalog.pg_constraint.oid AND \
     pg_catalog.pg_description.classoid = CAST('pg_catalog.pg_constraint' AS REGCLASS) WHERE \
     pg_catalog.pg_constraint.contype = 'p' AND pg_catalog.pg_constraint.conrelid IN (16384)) AS \
     con ON pg_catalog.pg_attribute.attnum = con.attnum AND pg_catalog.pg_attribute.attrelid = \
     con.conrelid WHERE con.conrelid IN (16384)) AS attr GROUP BY attr.conrelid, attr.conname \
     ORDER BY attr.conrelid, attr.conname",
    "SELECT pg_catalog.pg_index.indrelid, pg_catalog.pg_class.relname, \
     pg_catalog.pg_constraint.conrelid IS NOT NULL AS has_constraint, idx_cols.elements FROM \
     pg_catalog.pg_index JOIN pg_catalog.pg_class ON pg_catalog.pg_index.indexrelid = \
     pg_catalog.pg_class.oid LEFT OUTER JOIN (SELECT idx_attr.indexrelid AS indexrelid, \
     array_agg(idx_attr.element ORDER BY idx_attr.ord) AS elements FROM (SELECT idx.indexrelid AS \
     indexrelid, unnest(idx.indkey) AS element, idx.ord AS ord FROM pg_catalog.pg_index AS idx) AS \
     idx_attr GROUP BY idx_attr.indexrelid) AS idx_cols ON pg_catalog.pg_index.indexrelid = \
     idx_cols.indexrelid LEFT OUTER JOIN pg_catalog.pg_constraint ON \
     pg_catalog.pg_index.indrelid = pg_catalog.pg_constraint.conrelid ORDER BY \
     pg_catalog.pg_index.indrelid",
    "SELECT condefs FROM pg_catalog.pg_type LEFT OUTER JOIN (SELECT contypid, \
     array_agg(pg_catalog.pg_get_constraintdef(oid, true)) AS condefs FROM \
     pg_catalog.pg_constraint WHERE contypid != 0 GROUP BY contypid) AS checks ON \
     pg_catalog.pg_type.oid = checks.contypid WHERE pg_catalog.pg_type.typtype = 'd'",
];

#[test]
fn sqlalchemy_inspects_schemas_keys_and_indexes() {
    let mut job = Job::new();
    job.run(5, 50);
    let engine = live(&job);
    for sql in SQLALCHEMY {
        assert_eq!(answer(&engine, sql).rows(), 0, "{sql}");
    }
    let schemas = "SELECT pg_catalog.pg_namespace.nspname FROM pg_catalog.pg_namespace WHERE \
                   (pg_catalog.pg_namespace.nspname NOT LIKE 'pg/_' || '%' ESCAPE '/') ORDER BY 1";
    let expected =
        ["information_schema", "market_data"].map(|it| format!(r#"{{"nspname":"{it}"}}"#));
    assert_eq!(rows(&engine, schemas), expected);
    let cast = schemas.replace("'pg/_'", "'pg/_'::VARCHAR");
    assert_eq!(rows(&engine, &cast), expected, "as psycopg binds it");
    let like = "SELECT '100%' LIKE '1__!%' ESCAPE '!' AS a, 'a\\b' ILIKE 'A\\b' ESCAPE '' AS b, \
                '1000' LIKE '100!%' ESCAPE '!' AS c";
    assert_eq!(rows(&engine, like), [r#"{"a":true,"b":true,"c":false}"#]);
}

#[test]
fn the_catalog_and_the_engine_know_the_same_tables_and_columns() {
    let mut job = Job::new();
    job.run(5, 50);
    let engine = live(&job);
    let mut listed: BTreeMap<String, usize> = BTreeMap::new();
    for line in rows(&engine, "SELECT table_name, column_name FROM information_schema.columns") {
        *listed.entry(line.split('"').nth(3).unwrap().to_owned()).or_default() += 1;
    }
    assert!(listed.len() > 15, "{listed:?}");
    for (table, columns) in listed {
        let schema = answer(&engine, &format!("SELECT * FROM {table} LIMIT 0")).schema;
        assert_eq!(schema.fields().len(), columns, "{table}");
    }
}
