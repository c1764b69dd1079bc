import Testing

@testable import FlowPostgres

/// Database URLs in the forms of other drivers.
struct DatabaseURLTests {
    @Test(arguments: [
        ("postgres://u:p@h/d", "postgresql://u:p@h/d"), ("postgresql+asyncpg://u@h:1/d", "postgresql://u@h:1/d"),
        ("postgres+psycopg2://u@h/d?sslmode=require", "postgresql://u@h/d?sslmode=require"),
        ("PostgreSQL+Asyncpg:///d", "postgresql:///d"),
        ("postgresql+asyncpg://u@h/d?ssl=require", "postgresql://u@h/d?sslmode=require"),
        ("postgres://u@h/d?ssl=verify-full&sslrootcert=/a", "postgresql://u@h/d?sslmode=verify-full&sslrootcert=/a"),
        ("postgres://u@h/d?ssl=true", "postgresql://u@h/d?sslmode=require"),
        ("postgres://u@h/d?ssl=False", "postgresql://u@h/d?sslmode=disable"),
        // An explicit sslmode counts, in any order.
        ("postgres://u@h/d?ssl=true&sslmode=verify-full", "postgresql://u@h/d?sslmode=verify-full"),
        ("postgres://u@h/d?sslmode=verify-full&ssl=disable", "postgresql://u@h/d?sslmode=verify-full"),
        ("postgres://u@h/d?ssl=perhaps", "postgresql://u@h/d?ssl=perhaps"),
        (
            "postgresql+asyncpg://u@h/d?prepared_statement_cache_size=0&statement_cache_size=0&pgbouncer=true&timeout=7",
            "postgresql://u@h/d?connect_timeout=7"
        ),
        // A question mark in a password is not the start of the parameters.
        ("postgres://u:p?ssl=true@h/d?ssl=true", "postgresql://u:p?ssl=true@h/d?sslmode=require"),
        ("host=h password=a://b", "host=h password=a://b"), ("mysql://h/d?ssl=true", "mysql://h/d?ssl=true"), ("", ""),
        ("postgresql+a+b://h/d", "postgresql+a+b://h/d"),
    ])
    func isTranslated(_ url: String, _ expected: String) { #expect(DatabaseURL.libpq(url) == expected) }

    @Test(arguments: [
        "mysql://h/d?a=b", "postgresql+a+b://h/d?a=b", "postgres://h/d?ssl=perhaps", "postgres://h/d?sslmod=require", "h",
    ])
    func unknownSchemeOrParameterIsRejected(_ url: String) {
        #expect(throws: PostgresError.self) { try PostgresSettings(url: url).check() }
    }

    @Test(arguments: [
        ("postgresql+asyncpg://u:secret@h:5/d?ssl=require", "u@h:5/d"), ("postgres://[::1]/d?password=secret", "[::1]/d"),
        ("host=h dbname=d user=u password=secret", "u@h/d"), ("postgres:///d", "/d"),
    ])
    func summaryHasNoPassword(_ url: String, _ expected: String) {
        var settings = PostgresSettings(url: url)
        #expect(settings.summary == expected)
        settings.schema = "s"
        #expect(settings.summary == expected + ", schema s")
    }

    @Test func schemaNamesNeedNoQuotes() {
        for name in ["a", "_a1", "flowhub", String(repeating: "a", count: 63)] { #expect(PostgresSettings.isSchema(name)) }
        for name in ["", "1a", "A", "a-b", "a b", "ä", "pg_a", String(repeating: "a", count: 64), "a\"", "a'"] {
            #expect(!PostgresSettings.isSchema(name), "\(name)")
        }
    }
}
