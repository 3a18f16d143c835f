//! Tables of the catalog that never have a row, since K2 has nothing of what they list.

use super::{INFORMATION_SCHEMA, PG_CATALOG};

/// Schema, name, columns.
const TABLES: [(&str, &str, &str); 55] = [
    (PG_CATALOG, "pg_attrdef", "oid:i adrelid:i adnum:i adbin:t"),
    (PG_CATALOG, "pg_aggregate", "aggfnoid:i aggkind:t"),
    (PG_CATALOG, "pg_auth_members", "oid:i roleid:i member:i grantor:i admin_option:b"),
    (
        PG_CATALOG,
        "pg_available_extensions",
        "name:t default_version:t installed_version:t comment:t",
    ),
    (
        PG_CATALOG,
        "pg_cast",
        "oid:i castsource:i casttarget:i castfunc:i castcontext:t castmethod:t",
    ),
    (
        PG_CATALOG,
        "pg_collation",
        "oid:i collname:t collnamespace:i collowner:i collprovider:t collencoding:i collcollate:t \
         collctype:t",
    ),
    (
        PG_CATALOG,
        "pg_constraint",
        "oid:i conname:t connamespace:i contype:t condeferrable:b condeferred:b convalidated:b \
         conrelid:i contypid:i conindid:i conparentid:i confrelid:i confupdtype:t confdeltype:t \
         confmatchtype:t conislocal:b coninhcount:i connoinherit:b conkey:t confkey:t conbin:t",
    ),
    (PG_CATALOG, "pg_conversion", "oid:i conname:t connamespace:i"),
    (
        PG_CATALOG,
        "pg_depend",
        "classid:i objid:i objsubid:i refclassid:i refobjid:i refobjsubid:i deptype:t",
    ),
    (PG_CATALOG, "pg_description", "objoid:i classoid:i objsubid:i description:t"),
    (PG_CATALOG, "pg_enum", "oid:i enumtypid:i enumsortorder:f enumlabel:t"),
    (
        PG_CATALOG,
        "pg_event_trigger",
        "oid:i evtname:t evtevent:t evtowner:i evtfoid:i evtenabled:t",
    ),
    (
        PG_CATALOG,
        "pg_extension",
        "oid:i extname:t extowner:i extnamespace:i extrelocatable:b extversion:t",
    ),
    (PG_CATALOG, "pg_foreign_data_wrapper", "oid:i fdwname:t fdwowner:i"),
    (PG_CATALOG, "pg_foreign_server", "oid:i srvname:t srvowner:i srvfdw:i"),
    (PG_CATALOG, "pg_foreign_table", "ftrelid:i ftserver:i ftoptions:t"),
    (
        PG_CATALOG,
        "pg_index",
        "indexrelid:i indrelid:i indnatts:i indnkeyatts:i indisunique:b indisprimary:b \
         indisexclusion:b indimmediate:b indisclustered:b indisvalid:b indisready:b indislive:b \
         indisreplident:b indkey:t indoption:t indexprs:t indpred:t",
    ),
    (PG_CATALOG, "pg_indexes", "schemaname:t tablename:t indexname:t tablespace:t indexdef:t"),
    (PG_CATALOG, "pg_inherits", "inhrelid:i inhparent:i inhseqno:i inhdetachpending:b"),
    (PG_CATALOG, "pg_language", "oid:i lanname:t lanowner:i lanpltrusted:b"),
    (PG_CATALOG, "pg_locks", "locktype:t database:i relation:i pid:i mode:t granted:b"),
    (PG_CATALOG, "pg_matviews", "schemaname:t matviewname:t matviewowner:t definition:t"),
    (PG_CATALOG, "pg_operator", "oid:i oprname:t oprnamespace:i oprleft:i oprright:i oprresult:i"),
    (PG_CATALOG, "pg_partitioned_table", "partrelid:i partstrat:t partnatts:i"),
    (
        PG_CATALOG,
        "pg_policy",
        "oid:i polname:t polrelid:i polcmd:t polpermissive:b polroles:t polqual:t polwithcheck:t",
    ),
    (
        PG_CATALOG,
        "pg_proc",
        "oid:i proname:t pronamespace:i proowner:i prolang:i prokind:t provolatile:t proretset:b \
         pronargs:i prorettype:i proargtypes:t proargnames:t prosrc:t proacl:t",
    ),
    (PG_CATALOG, "pg_publication", "oid:i pubname:t pubowner:i puballtables:b"),
    (PG_CATALOG, "pg_publication_namespace", "oid:i pnpubid:i pnnspid:i"),
    (PG_CATALOG, "pg_publication_rel", "oid:i prpubid:i prrelid:i prqual:t prattrs:t"),
    (PG_CATALOG, "pg_range", "rngtypid:i rngsubtype:i rngmultitypid:i"),
    (PG_CATALOG, "pg_rewrite", "oid:i rulename:t ev_class:i ev_type:t"),
    (PG_CATALOG, "pg_sequence", "seqrelid:i seqtypid:i seqstart:i seqincrement:i"),
    (PG_CATALOG, "pg_shdescription", "objoid:i classoid:i description:t"),
    (
        PG_CATALOG,
        "pg_statistic_ext",
        "oid:i stxrelid:i stxname:t stxnamespace:i stxkind:t stxstattarget:i",
    ),
    (
        PG_CATALOG,
        "pg_trigger",
        "oid:i tgrelid:i tgname:t tgfoid:i tgtype:i tgenabled:t tgisinternal:b tgparentid:i \
         tgconstraint:i",
    ),
    (PG_CATALOG, "pg_db_role_setting", "setdatabase:i setrole:i setconfig:t"),
    (
        PG_CATALOG,
        "pg_default_acl",
        "oid:i defaclrole:i defaclnamespace:i defaclobjtype:t defaclacl:t",
    ),
    (PG_CATALOG, "pg_subscription", "oid:i subdbid:i subname:t subowner:i subenabled:b"),
    (PG_CATALOG, "pg_ts_config", "oid:i cfgname:t cfgnamespace:i"),
    (PG_CATALOG, "pg_ts_dict", "oid:i dictname:t dictnamespace:i"),
    (PG_CATALOG, "pg_ts_parser", "oid:i prsname:t prsnamespace:i"),
    (PG_CATALOG, "pg_ts_template", "oid:i tmplname:t tmplnamespace:i"),
    (PG_CATALOG, "pg_user_mapping", "oid:i umuser:i umserver:i"),
    (
        INFORMATION_SCHEMA,
        "table_constraints",
        "constraint_catalog:t constraint_schema:t constraint_name:t table_catalog:t \
         table_schema:t table_name:t constraint_type:t",
    ),
    (
        INFORMATION_SCHEMA,
        "key_column_usage",
        "constraint_catalog:t constraint_schema:t constraint_name:t table_catalog:t \
         table_schema:t table_name:t column_name:t ordinal_position:i",
    ),
    (
        INFORMATION_SCHEMA,
        "referential_constraints",
        "constraint_catalog:t constraint_schema:t constraint_name:t unique_constraint_schema:t \
         unique_constraint_name:t update_rule:t delete_rule:t",
    ),
    (
        INFORMATION_SCHEMA,
        "constraint_column_usage",
        "table_schema:t table_name:t column_name:t constraint_schema:t constraint_name:t",
    ),
    (
        INFORMATION_SCHEMA,
        "routines",
        "specific_schema:t specific_name:t routine_schema:t routine_name:t routine_type:t \
         data_type:t",
    ),
    (
        INFORMATION_SCHEMA,
        "triggers",
        "trigger_schema:t trigger_name:t event_object_schema:t event_object_table:t",
    ),
    (
        PG_CATALOG,
        "pg_amop",
        "oid:i amopfamily:i amoplefttype:i amoprighttype:i amopstrategy:i amoppurpose:t \
         amopopr:i amopmethod:i amopsortfamily:i",
    ),
    (
        PG_CATALOG,
        "pg_amproc",
        "oid:i amprocfamily:i amproclefttype:i amprocrighttype:i amprocnum:i amproc:t",
    ),
    (PG_CATALOG, "pg_largeobject_metadata", "oid:i lomowner:i lomacl:t"),
    (
        PG_CATALOG,
        "pg_opclass",
        "oid:i opcmethod:i opcname:t opcnamespace:i opcowner:i opcfamily:i opcintype:i \
         opcdefault:b opckeytype:i",
    ),
    (PG_CATALOG, "pg_opfamily", "oid:i opfmethod:i opfname:t opfnamespace:i opfowner:i"),
    (PG_CATALOG, "pg_user_mappings", "umid:i srvid:i srvname:t umuser:i usename:t umoptions:t"),
];

pub(super) fn names(schema: &str) -> impl Iterator<Item = &'static str> {
    TABLES.into_iter().filter(move |(of, ..)| *of == schema).map(|(_, name, _)| name)
}

pub(super) fn columns(schema: &str, name: &str) -> Option<&'static str> {
    let mut tables = TABLES.into_iter();
    tables.find(|(of, known, _)| (*of, *known) == (schema, name)).map(|(.., columns)| columns)
}
