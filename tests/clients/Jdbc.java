import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.ArrayList;
import java.util.Calendar;
import java.util.HexFormat;
import java.util.List;
import java.util.Properties;
import java.util.StringJoiner;
import java.util.TimeZone;

/**
 * Reads tables through the Arrow Flight SQL JDBC driver and writes what it saw as JSON, for rights.py to compare.
 *
 * <p>Arguments: HOST:PORT, purpose, output file. What to ask comes by standard input, a line each: "table SCHEMA.TABLE KEY"
 * is read whole and by a parameter for its key, "refused STATEMENT" is run for its error. The token comes by the
 * environment variable LAKEWARD_TOKEN.
 */
public final class Jdbc {
    private static final Calendar UTC = Calendar.getInstance(TimeZone.getTimeZone("UTC"));

    public static void main(String[] arguments) throws SQLException, IOException {
        Properties properties = new Properties();
        properties.put("useEncryption", "false");
        properties.put("token", System.getenv("LAKEWARD_TOKEN"));
        String url = "jdbc:arrow-flight-sql://" + arguments[0] + "/?x-lakeward-purpose=" + arguments[1];
        List<String> lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)).lines().toList();
        StringBuilder json = new StringBuilder("{");
        try (Connection connection = DriverManager.getConnection(url, properties)) {
            DatabaseMetaData metadata = connection.getMetaData();
            json.append("\"catalogs\":").append(texts(column(metadata.getCatalogs(), "TABLE_CAT")));
            json.append(",\"schemas\":").append(texts(column(metadata.getSchemas(), "TABLE_SCHEM")));
            json.append(",\"tables\":").append(texts(tables(metadata)));
            StringJoiner columns = object(), rows = object(), prepared = object(), refused = object();
            for (String line : lines) {
                String[] words = line.split(" ", 2);
                if (words[0].equals("refused")) {
                    refused.add(text(words[1]) + ":" + refusal(connection, words[1]));
                    continue;
                }
                String name = words[1].split(" ")[0], key = words[1].split(" ")[1], head = text(name) + ":";
                String[] parts = name.split("\\.");
                columns.add(head + texts(column(metadata.getColumns(null, parts[0], parts[1], null), "COLUMN_NAME")));
                rows.add(head + statement(connection, name));
                prepared.add(head + prepared(connection, name, key));
            }
            json.append(",\"columns\":").append(columns);
            json.append(",\"rows\":").append(rows);
            json.append(",\"prepared\":").append(prepared);
            json.append(",\"refused\":").append(refused);
        }
        Files.writeString(Path.of(arguments[2]), json.append("}\n"), StandardCharsets.UTF_8);
    }

    private static StringJoiner object() {
        return new StringJoiner(",", "{", "}");
    }

    /** State and message of the error that a statement ends with; null where it does not. */
    private static String refusal(Connection connection, String sql) {
        try (Statement statement = connection.createStatement();
                ResultSet results = statement.executeQuery(sql)) {
            results.next();
            return "null";
        } catch (SQLException error) {
            return "{\"state\":" + text(error.getSQLState()) + ",\"message\":" + text(error.getMessage()) + "}";
        }
    }

    private static List<String> column(ResultSet results, String name) throws SQLException {
        List<String> values = new ArrayList<>();
        try (results) {
            while (results.next()) {
                values.add(results.getString(name));
            }
        }
        return values;
    }

    private static List<String> tables(DatabaseMetaData metadata) throws SQLException {
        List<String> names = new ArrayList<>();
        try (ResultSet results = metadata.getTables(null, null, null, null)) {
            while (results.next()) {
                names.add(results.getString("TABLE_SCHEM") + "." + results.getString("TABLE_NAME"));
            }
        }
        return names;
    }

    /** All rows of a table as JSON objects whose values are texts or null. */
    private static String statement(Connection connection, String table) throws SQLException {
        StringBuilder json = new StringBuilder("[");
        try (Statement statement = connection.createStatement();
                ResultSet results = statement.executeQuery("SELECT * FROM " + table)) {
            ResultSetMetaData columns = results.getMetaData();
            for (boolean first = true; results.next(); first = false) {
                json.append(first ? "{" : ",{");
                for (int index = 1; index <= columns.getColumnCount(); index++) {
                    json.append(index == 1 ? "" : ",").append(text(columns.getColumnName(index))).append(':');
                    json.append(text(value(results, columns, index)));
                }
                json.append('}');
            }
        }
        return json.append(']').toString();
    }

    private static String value(ResultSet results, ResultSetMetaData columns, int index) throws SQLException {
        int type = columns.getColumnType(index);
        if (type == Types.TIMESTAMP || type == Types.TIMESTAMP_WITH_TIMEZONE) {
            Timestamp timestamp = results.getTimestamp(index, UTC);
            return timestamp == null ? null : timestamp.toInstant().toString();
        }
        Object value = results.getObject(index);
        if (value instanceof byte[] bytes) {
            return HexFormat.of().formatHex(bytes);
        }
        return value == null ? null : value.toString();
    }

    /** Asks for the first key that the table shows, as a parameter. */
    private static String prepared(Connection connection, String table, String key) throws SQLException {
        String chosen;
        try (Statement statement = connection.createStatement();
                ResultSet results = statement.executeQuery(
                        "SELECT " + key + " FROM " + table + " WHERE " + key + " IS NOT NULL ORDER BY 1 LIMIT 1")) {
            chosen = results.next() ? results.getString(1) : null;
        }
        int rows = 0;
        if (chosen != null) {
            try (PreparedStatement statement =
                    connection.prepareStatement("SELECT * FROM " + table + " WHERE " + key + " = ?")) {
                statement.setString(1, chosen);
                try (ResultSet results = statement.executeQuery()) {
                    while (results.next()) {
                        rows++;
                    }
                }
            }
        }
        return "{\"value\":" + text(chosen) + ",\"rows\":" + rows + "}";
    }

    private static String texts(List<String> values) {
        StringBuilder json = new StringBuilder("[");
        for (String value : values) {
            json.append(json.length() == 1 ? "" : ",").append(text(value));
        }
        return json.append(']').toString();
    }

    private static String text(String value) {
        if (value == null) {
            return "null";
        }
        StringBuilder json = new StringBuilder("\"");
        for (char character : value.toCharArray()) {
            if (character == '"' || character == '\\') {
                json.append('\\').append(character);
            } else if (character < ' ') {
                json.append(String.format("\\u%04x", (int) character));
            } else {
                json.append(character);
            }
        }
        return json.append('"').toString();
    }

    private Jdbc() {}
}
