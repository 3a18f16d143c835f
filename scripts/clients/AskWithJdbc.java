import java.math.BigDecimal;
import java.sql.Array;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * Asks a server as DBeaver and other programs on Java ask PostgreSQL, through its JDBC driver:
 *
 *   java -cp postgresql.jar AskWithJdbc.java jdbc:postgresql://127.0.0.1:8612/k2
 */
public class AskWithJdbc {
    public static void main(String[] arguments) throws Exception {
        // Prepared on the server from the first time on, and values in binary where both know how.
        String url = arguments[0] + "?user=somebody&prepareThreshold=1&binaryTransfer=true";
        try (Connection connection = DriverManager.getConnection(url)) {
            catalogAndEngineAgree(connection);
            keysAreNone(connection);
            valuesHaveTypesOfTheirOwn(connection);
            parametersAreBound(connection);
            rowsComeInParts(connection);
            errorsHaveAState(connection);
        }
        System.out.println("the JDBC driver has what it asked for");
    }

    static void check(boolean is, Object told) {
        if (!is) throw new AssertionError(told);
    }

    static List<String> column(ResultSet rows, String name) throws SQLException {
        List<String> values = new ArrayList<>();
        while (rows.next()) values.add(rows.getString(name));
        rows.close();
        return values;
    }

    static void catalogAndEngineAgree(Connection connection) throws SQLException {
        DatabaseMetaData data = connection.getMetaData();
        check(data.getDatabaseProductName().equals("PostgreSQL"), data.getDatabaseProductName());
        check(column(data.getCatalogs(), "TABLE_CAT").contains("k2"), "catalogs");
        List<String> schemas = column(data.getSchemas(), "TABLE_SCHEM");
        check(schemas.contains("market_data") && schemas.contains("pg_catalog"), schemas);
        TreeMap<String, String> kinds = new TreeMap<>();
        try (ResultSet rows = data.getTables(null, "market_data", "%", null)) {
            while (rows.next()) kinds.put(rows.getString("TABLE_NAME"), rows.getString("TABLE_TYPE"));
        }
        check("TABLE".equals(kinds.get("trades")), kinds);
        check("VIEW".equals(kinds.get("ohlcv_1m")), kinds);
        List<String> some = column(data.getTables("k2", null, "ohlcv\\_%", new String[] {"VIEW"}), "TABLE_NAME");
        check(some.size() == 6, some);
        check(column(data.getTableTypes(), "TABLE_TYPE").contains("VIEW"), "types of tables");
        for (String table : kinds.keySet()) columnsAgree(connection, table);
        List<String> types = column(data.getTypeInfo(), "TYPE_NAME");
        for (String type : List.of("int8", "numeric", "timestamptz", "text", "bool", "bytea"))
            check(types.contains(type), type + " in " + types);
        check(column(data.getFunctions(null, null, "%"), "FUNCTION_NAME") != null, "functions");
        check(column(data.getProcedures(null, null, "%"), "PROCEDURE_NAME").isEmpty(), "procedures");
        check(column(data.getUDTs(null, null, "%", null), "TYPE_NAME").isEmpty(), "types of users");
        check(data.getSQLKeywords() != null && data.getMaxColumnNameLength() > 0, "limits");
    }

    /** The names and types that the catalog tells are those of an answer. */
    static void columnsAgree(Connection connection, String table) throws SQLException {
        List<String> told = new ArrayList<>();
        try (ResultSet rows = connection.getMetaData().getColumns(null, "market_data", table, "%")) {
            while (rows.next()) {
                check(rows.getInt("ORDINAL_POSITION") == told.size() + 1, table);
                told.add(rows.getString("COLUMN_NAME") + " " + rows.getInt("DATA_TYPE") + " " + rows.getString("TYPE_NAME") + " "
                    + rows.getInt("COLUMN_SIZE") + " " + rows.getInt("DECIMAL_DIGITS"));
            }
        }
        List<String> found = new ArrayList<>();
        try (Statement statement = connection.createStatement();
             ResultSet rows = statement.executeQuery("SELECT * FROM market_data." + table + " LIMIT 0")) {
            ResultSetMetaData data = rows.getMetaData();
            for (int at = 1; at <= data.getColumnCount(); at++)
                found.add(data.getColumnName(at) + " " + data.getColumnType(at) + " " + data.getColumnTypeName(at) + " "
                    + data.getPrecision(at) + " " + data.getScale(at));
        }
        check(told.equals(found), table + ": " + told + " but " + found);
    }

    static void keysAreNone(Connection connection) throws SQLException {
        DatabaseMetaData data = connection.getMetaData();
        check(column(data.getPrimaryKeys(null, "market_data", "trades"), "COLUMN_NAME").isEmpty(), "a key");
        check(column(data.getIndexInfo(null, "market_data", "trades", false, true), "INDEX_NAME").isEmpty(), "an index");
        check(column(data.getImportedKeys(null, "market_data", "trades"), "FK_NAME").isEmpty(), "a key");
        check(column(data.getExportedKeys(null, "market_data", "trades"), "FK_NAME").isEmpty(), "a key");
        check(column(data.getCrossReference(null, null, "trades", null, null, "quotes"), "FK_NAME").isEmpty(), "a key");
        check(column(data.getBestRowIdentifier(null, "market_data", "trades", DatabaseMetaData.bestRowSession, true), "COLUMN_NAME").isEmpty(), "a key");
        check(column(data.getVersionColumns(null, "market_data", "trades"), "COLUMN_NAME") != null, "columns of versions");
        column(data.getTablePrivileges(null, "market_data", "trades"), "PRIVILEGE");
        column(data.getColumnPrivileges(null, "market_data", "trades", "%"), "PRIVILEGE");
        column(data.getClientInfoProperties(), "NAME");
    }

    static void valuesHaveTypesOfTheirOwn(Connection connection) throws SQLException {
        String question = "SELECT price, CAST(price AS TEXT) AS written, ts, ts_event, conditions, symbol FROM trades "
            + "ORDER BY ts_event, sequence LIMIT 100";
        int rows = 0;
        // Twice: the first answer is in text, and what has been prepared answers in binary.
        for (int time = 0; time < 4; time++) {
            try (PreparedStatement statement = connection.prepareStatement(question); ResultSet found = statement.executeQuery()) {
                while (found.next()) {
                    check(found.getBigDecimal("price").equals(new BigDecimal(found.getString("written"))), "price");
                    OffsetDateTime moment = found.getObject("ts", OffsetDateTime.class);
                    long micros = moment.toEpochSecond() * 1_000_000 + moment.getNano() / 1_000;
                    check(micros == Math.floorDiv(found.getLong("ts_event"), 1_000L), moment);
                    Array conditions = found.getArray("conditions");
                    check(conditions.getBaseType() == Types.VARCHAR && ((String[]) conditions.getArray()).length >= 0, "conditions");
                    check(found.getString("symbol").length() > 0, "symbol");
                    rows++;
                }
            }
        }
        check(rows > 0 && rows % 4 == 0, rows);
    }

    static void parametersAreBound(Connection connection) throws SQLException {
        String question = "SELECT count(*) FROM trades WHERE symbol = ? AND price >= ? AND ts < ? AND ts_event >= ? AND venue = ANY(?)";
        String symbol;
        try (Statement statement = connection.createStatement(); ResultSet first = statement.executeQuery("SELECT min(symbol) FROM trades")) {
            first.next();
            symbol = first.getString(1);
        }
        OffsetDateTime until = OffsetDateTime.parse("2200-01-01T00:00:00Z");
        try (PreparedStatement statement = connection.prepareStatement(question)) {
            check(statement.getParameterMetaData().getParameterCount() == 5, "parameters");
            for (String given : List.of(symbol, symbol, symbol, "x' OR '1' = '1")) {
                statement.setString(1, given);
                statement.setBigDecimal(2, new BigDecimal("0.000000000001"));
                statement.setObject(3, until);
                statement.setLong(4, 0);
                statement.setArray(5, connection.createArrayOf("text", new String[] {"BINANCE", "BINANCE_USDM"}));
                try (ResultSet found = statement.executeQuery()) {
                    check(found.next() && (found.getLong(1) > 0) == given.equals(symbol), given);
                }
            }
        }
    }

    static void rowsComeInParts(Connection connection) throws SQLException {
        List<Long> whole = new ArrayList<>();
        List<Long> parts = new ArrayList<>();
        String question = "SELECT \"offset\" FROM trades WHERE ts_event < (SELECT max(ts_event) FROM trades) ORDER BY ts_event, sequence LIMIT 200";
        connection.setAutoCommit(false);
        for (int size : new int[] {0, 7}) {
            try (Statement statement = connection.createStatement()) {
                statement.setFetchSize(size);
                try (ResultSet found = statement.executeQuery(question)) {
                    while (found.next()) (size == 0 ? whole : parts).add(found.getLong(1));
                }
            }
        }
        // Far more than is found before the first part is sent, with another question between.
        long sum = 0;
        try (Statement statement = connection.createStatement();
                Statement other = connection.createStatement()) {
            statement.setFetchSize(10_000);
            ResultSet found = statement.executeQuery("SELECT value FROM generate_series(1, 200000) AS t (value)");
            while (found.next()) {
                sum += found.getLong(1);
                if (found.getRow() == 100_000) other.executeQuery("SELECT 1").close();
            }
        }
        check(sum == 20_000_100_000L, sum);
        connection.rollback();
        connection.setAutoCommit(true);
        check(whole.size() > 10 && whole.equals(parts), whole.size() + " and " + parts.size());
    }

    static void errorsHaveAState(Connection connection) throws SQLException {
        TreeMap<String, String> wrong = new TreeMap<>();
        wrong.put("SELECT * FROM trade", "42P01");
        wrong.put("SELECT pric FROM trades", "42703");
        wrong.put("DELETE FROM trades", "25006");
        wrong.put("SELECT 1/0", "22012");
        TreeSet<String> told = new TreeSet<>();
        for (String question : wrong.keySet()) {
            try (Statement statement = connection.createStatement()) {
                statement.executeQuery(question).close();
                throw new AssertionError(question + " was answered");
            } catch (SQLException error) {
                check(wrong.get(question).equals(error.getSQLState()), question + ": " + error);
                told.add(error.getMessage());
            }
        }
        check(told.size() == wrong.size() && connection.isValid(5), told);
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            statement.executeQuery("SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b WHERE a.a % 7 = b.b % 11");
            throw new AssertionError("it was not cancelled");
        } catch (SQLException error) {
            check("57014".equals(error.getSQLState()), error);
        }
    }
}
