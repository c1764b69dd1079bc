import FlowCore
import Testing

@testable import FlowObjects

/// Formats of S3: dates, ranges, file names.
@Suite struct S3FormatTests {
    @Test func parsesHTTPAndISODates() {
        // RFC 9110, section 5.6.7.
        #expect(ServerTime.http("Sun, 06 Nov 1994 08:49:37 GMT")?.description == "1994-11-06T08:49:37.000Z")
        #expect(ServerTime.http("Thu, 29 Feb 2024 23:59:60 GMT")?.description == "2024-03-01T00:00:00.000Z")
        #expect(ServerTime.iso("2026-11-25T01:00:10.25Z")?.description == "2026-11-25T01:00:10.250Z")
        #expect(ServerTime.iso("1970-01-01T00:00:00Z") == Timestamp(milliseconds: 0))
        for odd in ["", "now", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49 GMT"] {
            #expect(ServerTime.http(odd) == nil)
        }
        for odd in ["", "2026-11-25", "2026-11-25T01:00:10", "2026-13-25T01:00:10Z", "2026-11-25T25:00:10Z", "TZ"] {
            #expect(ServerTime.iso(odd) == nil)
        }
    }

    @Test func parsesContentRanges() {
        let range = ContentRange("bytes 5-9/100")
        #expect(range?.bytes == 5..<10)
        #expect(range?.total == 100)
        for odd in [
            "", "bytes */100", "bytes 5-9/*", "bytes 9-5/100", "bytes 5-100/100", "5-9/100", "bytes -1-2/9", "bytes 1-/9",
        ] {
            #expect(ContentRange(odd) == nil)
        }
    }

    @Test(arguments: [
        ("data.json.gz", "attachment; filename=\"data.json.gz\""),
        ("a \"b\\c/d\".gz", "attachment; filename=\"a _b_c_d_.gz\"; filename*=UTF-8''a%20%22b_c_d%22.gz"),
        ("Käse.csv", "attachment; filename=\"K_se.csv\"; filename*=UTF-8''K%C3%A4se.csv"),
        ("a\r\nX: y", "attachment; filename=\"a__X: y\""),
        ("50%.csv", "attachment; filename=\"50_.csv\"; filename*=UTF-8''50%25.csv"),
        ("..", "attachment; filename=\"..\""), ("", "attachment"),
    ])
    func encodesFileNameInContentDisposition(_ name: String, _ field: String) {
        #expect(ContentDisposition.attachment(name) == field)
    }

    @Test func truncatesLongFileNamesBetweenCharacters() {
        let field = ContentDisposition.attachment(String(repeating: "中", count: 1_000))
        #expect(field.hasSuffix(String(repeating: "%E4%B8%AD", count: 85)))
        #expect(field.utf8.allSatisfy { (0x20...0x7e).contains($0) })
    }

    @Test func decodesPercentEncoding() {
        #expect(PercentDecoding.decode("a%2Fb+c%25%e4%b8%ad"[...], plusIsSpace: true) == "a/b c%中")
        for odd in ["%", "%4", "%zz", "%ff"] { #expect(PercentDecoding.decode(odd[...], plusIsSpace: true) == nil) }
    }

    @Test func stripsETagQuotesAndWeakPrefix() {
        #expect(["\"ab\"", "W/\"ab\"", "ab"].map(R2Reply.bare) == ["ab", "ab", "ab"])
    }
}
