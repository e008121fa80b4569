import java.io.IOException;
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
import java.util.List;
import java.util.Properties;
import java.util.TimeZone;

/**
 * Reads tables through the Arrow Flight SQL JDBC driver and writes what it saw as JSON, for rights.py to compare.
 *
 * <p>Arguments: HOST:PORT, purpose, output file, tables of the schema curated. The token comes by the environment
 * variable LAKEWARD_TOKEN.
 */
public final class Jdbc {
    private static final Calendar UTC = Calendar.getInstance(TimeZone.getTimeZone("UTC"));

    public static void main(String[] arguments) throws SQLException, IOException {
        Properties properties = new Properties();
        properties.put("useEncryption", "false");
        properties.put("token", System.getenv("LAKEWARD_TOKEN"));
        String url = "jdbc:arrow-flight-sql://" + arguments[0] + "/?x-lakeward-purpose=" + arguments[1];
        StringBuilder json = new StringBuilder("{");
        try (Connection connection = DriverManager.getConnection(url, properties)) {
            DatabaseMetaData metadata = connection.getMetaData();
            json.append("\"catalogs\":").append(texts(column(metadata.getCatalogs(), "TABLE_CAT")));
            json.append(",\"schemas\":").append(texts(column(metadata.getSchemas(), "TABLE_SCHEM")));
            json.append(",\"tables\":").append(texts(tables(metadata)));
            StringBuilder columns = new StringBuilder("{"), rows = new StringBuilder("{"), prepared = new StringBuilder("{");
            for (int index = 3; index < arguments.length; index++) {
                String table = arguments[index];
                String separator = index == 3 ? "" : ",";
                columns.append(separator).append(text(table)).append(':');
                columns.append(texts(column(metadata.getColumns(null, "curated", table, null), "COLUMN_NAME")));
                rows.append(separator).append(text(table)).append(':').append(statement(connection, table));
                prepared.append(separator).append(text(table)).append(':').append(prepared(connection, table));
            }
            json.append(",\"columns\":").append(columns).append('}');
            json.append(",\"rows\":").append(rows).append('}');
            json.append(",\"prepared\":").append(prepared).append('}');
        }
        Files.writeString(Path.of(arguments[2]), json.append("}\n"), StandardCharsets.UTF_8);
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
                ResultSet results = statement.executeQuery("SELECT * FROM curated." + table)) {
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
        return value == null ? null : value.toString();
    }

    /** Asks for the first key that the table shows, as a parameter. */
    private static String prepared(Connection connection, String table) throws SQLException {
        String key = table.substring(0, table.length() - 1) + "_id";
        String chosen;
        try (Statement statement = connection.createStatement();
                ResultSet results = statement.executeQuery(
                        "SELECT " + key + " FROM curated." + table + " WHERE " + key + " IS NOT NULL ORDER BY 1 LIMIT 1")) {
            chosen = results.next() ? results.getString(1) : null;
        }
        int rows = 0;
        if (chosen != null) {
            try (PreparedStatement statement =
                    connection.prepareStatement("SELECT * FROM curated." + table + " WHERE " + key + " = ?")) {
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
