import Testing

@testable import FlowCore

@Suite struct TextPatternTests {
    @Test(
        arguments: [
            (.boolean, ["true", "False", "YES", "no"]),
            (.number, ["0", "7", "-12", "+3", "12.50", "0.5", "1e5", "-1.5E-7", "123456789012345678901234567890"]),
            (
                .date,
                [
                    "2025-01-31", "2024-02-29", "2025-01-31T23:59", "2025-01-31 23:59:60", "2025-01-31t01:02:03.123456Z",
                    "2025-01-31T01:02:03+01:00", "2025-01-31T01:02:03-0130", "2025-01-31T01:02+05", "31/12/2025", "12/31/2025",
                    "1/2/03", "31.12.2025", "1.2.2025", "31.12.2025 10:00", "29/02/2000",
                ]
            ),
            (.uuid, ["123e4567-e89b-12d3-a456-426614174000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"]),
            (
                .ipAddress,
                [
                    "0.0.0.0", "192.168.1.255", "::", "::1", "1::", "fe80::1:2", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::",
                    "::ffff:192.0.2.1", "::192.0.2.1", "1:2:3:4:5:6:192.0.2.1", "2001:DB8::a",
                ]
            ),
            (.email, ["a@b.c", "first.last+tag@sub.example-1.org", "o'neil@example.com", "1@example.com"]),
            (.url, ["http://a", "HTTPS://example.org/path?q=1#x", "ftp://x:21/", "https://[::1]:80/", "https://e.org/é"]),
        ] as [(TextPattern, [String])])
    func recognizesEachPattern(_ pattern: TextPattern, _ texts: [String]) {
        for text in texts { #expect(TextPattern(of: Array(text.utf8)[...]) == pattern, "\(text)") }
    }

    @Test(
        arguments: [
            "x", " ", "yess", "tru", "on", "007", "-", "+", "1.", ".5", "1e", "1e+", "0x10", "1,5", "1 ", " 1", "--1", "NaN",
            "2025-02-29", "2025-13-01", "2025-00-01", "2025-01-00", "2025-1-1", "2025-01-01T", "2025-01-01T24:00",
            "2025-01-01T12",
            "2025-01-01T12:60", "2025-01-01T12:00:00.", "2025-01-01T12:00Zx", "2025-01-01T12:00+1", "2025-01-01x12:00",
            "13/13/2025",
            "32/1/2025", "1/2", "1/2/3", "1/2/003", "1.2.03", "29.02.2025", "1-2-2025", "2025/01/01", "31.12/2025",
            "123e4567e89b12d3a456426614174000", "123e4567-e89b-12d3-a456-42661417400g", "123e4567-e89b-12d3-a456_426614174000",
            "256.1.1.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1..2.3", "1.2.3.", ":", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
            "1::2::3", "1:2:3:4:5:6:7:8::", "12345::", "g::", ":1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:192.0.2.1", "::1.2.3",
            "::1.2.3.4:1",
            "fe80::1%eth0", "a@b", "@b.c", "a@.c", "a@b.", "a@b..c", ".a@b.c", "a.@b.c", "a..b@c.d", "a b@c.d", "a@b@c.d",
            "a@-b.c",
            "http:/a", "http://", "http:///x", "https://a b", "mailto:a", "https", "://a", "http://a\n", "gopher://a",
        ])
    func otherTextsHaveNoPattern(_ text: String) {
        #expect(TextPattern(of: Array(text.utf8)[...]) == nil)
    }

    @Test func overlongAndEmptyTextsHaveNoPattern() {
        #expect(TextPattern(of: [UInt8](repeating: UInt8(ascii: "1"), count: 2_048)[...]) == .number)
        #expect(TextPattern(of: [UInt8](repeating: UInt8(ascii: "1"), count: 2_049)[...]) == nil)
        #expect(TextPattern(of: []) == nil)
    }
}
