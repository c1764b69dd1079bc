import FlowCore
import Testing

@testable import flowhub

@Suite struct ReconnectPolicyTests {
    /// Always the same number. (Not 0: `Int.random` would ask again for ever.)
    private struct Fixed: RandomNumberGenerator {
        let value: UInt64
        mutating func next() -> UInt64 { self.value }
    }

    /// What a policy says with the least jitter.
    private static func delays(asked milliseconds: Int, attempts: Int, deliveredAfter: Int = .max) -> [Int] {
        var policy = ReconnectPolicy()
        var least = Fixed(value: 1)
        policy.asked(milliseconds: milliseconds)
        return (0..<attempts).map { attempt in
            if attempt == deliveredAfter { policy.delivered() }
            return policy.nextDelay(using: &least)
        }
    }

    @Test func `the first wait is what the hub asked for, and then it doubles up to the cap`() {
        let delays = [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 1000]
        #expect(Self.delays(asked: 1000, attempts: 8, deliveredAfter: 7) == delays)
    }

    @Test func `a long retry is kept, an absurd one is not, and a zero does not spin`() {
        #expect(Self.delays(asked: 90_000, attempts: 3) == [90_000, 90_000, 90_000])
        #expect(Self.delays(asked: .max, attempts: 1) == [ReconnectPolicy.greatestRetry])
        #expect(Self.delays(asked: 0, attempts: 3) == [0, 500, 1000])
    }

    @Test func `jitter adds up to a quarter`() {
        var policy = ReconnectPolicy()
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            policy.delivered()
            let delay = policy.nextDelay(using: &generator)
            #expect((2000...2500).contains(delay))
        }
    }
}

@Suite struct LatencyHistogramTests {
    @Test func `each value falls into a bucket that begins at most a 64th below it`() {
        let values: [UInt64] = Array(0..<5000) + [65_535, 65_536, 1 << 30, (1 << 36) - 1]
        for value in values {
            let start = LatencyHistogram.start(of: LatencyHistogram.bucket(value))
            #expect(start <= value)
            #expect(value - start <= value / 64)
        }
    }

    @Test func `percentiles are those of the values`() {
        var histogram = LatencyHistogram()
        #expect(histogram.percentile(0.5) == 0)
        for value in 1...60 { histogram.record(microseconds: UInt64(value)) }
        #expect(histogram.percentile(0.5) == 30)
        #expect(histogram.percentile(0) == 1)
        histogram.record(microseconds: .max)
        #expect(histogram.percentile(1) == .max)
    }
}

@Suite struct StampScannerTests {
    @Test func `stamps are found wherever the bytes are cut`() {
        let stamps: [UInt64] = [1, 1_234_567_890_123_456_789]
        let text = "~~T=12~id: e~1\n\(stamps.map { "x~" + StampScanner.stamp(nanoseconds: $0) + "aaa" }.joined())~T=1"
        let bytes = Array(text.utf8)
        for size in 1...bytes.count {
            var scanner = StampScanner()
            var found: [UInt64] = []
            for start in stride(from: 0, to: bytes.count, by: size) {
                let chunk = Array(bytes[start..<min(start + size, bytes.count)])
                scanner.scan(chunk.span) { found.append($0) }
            }
            #expect(found == stamps, "in chunks of \(size)")
        }
    }
}

@Suite struct DeliveryLedgerTests {
    @Test func `a window has room until its deliveries are due`() {
        var ledger = DeliveryTracker(flows: 2, subscribers: 5, start: 100)
        #expect(ledger.subscribers == [3, 2])
        #expect(ledger.hasRoom(window: 1))
        ledger.published(flow: 0)
        #expect(!ledger.hasRoom(window: 1))
        let taken = [99, 150, 150, 150].map { ledger.came(stamp: $0) }
        #expect(taken == [false, true, true, true], "the first is of another run")
        #expect(ledger.hasRoom(window: 1))
    }

    @Test func `what was written off and comes late is not lost`() {
        var ledger = DeliveryTracker(flows: 1, subscribers: 3, start: 0)
        ledger.published(flow: 0)
        ledger.writeOff(now: 500)
        #expect(ledger.due == 0)
        #expect(ledger.writtenOff == 3)
        _ = ledger.came(stamp: 10)
        #expect(ledger.writtenOff == 2)
    }
}

@Suite struct ProcessUsageTests {
    @Test func `a name with blanks and parentheses does not shift the fields`() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 100 1000 10"
        let usage = ProcessUsage(stat: stat, status: "Name:\tx\nVmRSS:\t    1234 kB\n", ticksPerSecond: 100)
        #expect(usage?.cpuSeconds == 3)
        #expect(usage?.residentKiB == 1234)
    }
}

@Suite struct HubURLTests {
    @Test(arguments: [
        ("http://127.0.0.1:8080", true), ("http://localhost", true), ("https://LOCALHOST:1/", true), ("http://[::1]:8080", true),
        ("http://127.8.8.8", true), ("http://127.0.0.1.example.com", false), ("http://128.0.0.1", false), ("http://127.1", false),
        ("http://10.0.0.1", false), ("http://localhost.example.com", false),
    ])
    func `only this machine is loopback`(text: String, isLoopback: Bool) throws {
        #expect(try HubURL(text).isLoopback == isLoopback)
    }

    @Test func `a path stays and its last slash goes`() throws {
        let url = try HubURL("https://example.com/hub/")
        #expect(url.base == "https://example.com/hub")
        #expect(url.port == 443)
        #expect(url.authority == "example.com:443")
    }

    @Test(arguments: [
        "", "127.0.0.1:8080", "ftp://x", "http://", "http://u:p@x", "http://x?y", "http://x#y", "http://x:0", "http://x:70000",
    ])
    func `what is no address of a hub is refused`(text: String) {
        #expect(throws: CommandFailure.self) { try HubURL(text) }
    }
}

@Suite struct FlowEndingsTests {
    private static func endings(_ events: [(String, String)], flows: [String] = ["a"]) throws -> FlowEndings {
        var endings = FlowEndings(flows.compactMap { FlowID($0) })
        for (type, data) in events { endings.read(type, try JSONText(validating: data.utf8)) }
        return endings
    }

    @Test func `a status comes, stays, and goes again`() throws {
        let done = ("state_update", #"{"flow_id":"a","version":2,"updates":{"status":"completed"}}"#)
        #expect(try Self.endings([done]).allFinished)
        #expect(try Self.endings([done, ("state_update", #"{"flow_id":"a","updates":{"n":1}}"#)]).allFinished)
        #expect(try !Self.endings([done, ("state_update", #"{"flow_id":"a","updates":{"status":null}}"#)]).allFinished)
        #expect(try !Self.endings([done, ("state_update", #"{"flow_id":"a","updates":{"n":1},"replace":true}"#)]).allFinished)
        #expect(try !Self.endings([done], flows: ["a", "b"]).allFinished)
        #expect(try Self.endings([("flow_deleted", #"{"flow_id":"a"}"#)]).allFinished)
    }

    @Test func `closing ends one flow, or all where it names none`() throws {
        let one = ("closing", #"{"reason":"finished","reconnect":false,"flow_id":"a"}"#)
        #expect(try !Self.endings([one], flows: ["a", "b"]).allClosed)
        let all = try Self.endings([("closing", #"{"reason":"revoked","reconnect":false}"#)], flows: ["a", "b"])
        #expect(all.allClosed)
        #expect(all.lostAccess)
        #expect(try !Self.endings([("closing", #"{"reason":"drain","reconnect":true}"#)]).allClosed)
    }
}

@Suite struct OutputTests {
    private static func printed(_ type: String, _ data: String, json: Bool = false) -> String {
        var printer = EventPrinter(json: json, palette: Palette(isOn: false), namesFlow: false, width: nil)
        return printer.text(of: ServerEvent(type: type, data: data, id: "e-1"), now: Timestamp(milliseconds: 0))
    }

    @Test func `a line of JSON has event, id and data`() {
        #expect(Self.printed("tick", #"{"n":1.50}"#, json: true) == #"{"event":"tick","id":"e-1","data":{"n":1.50}}"# + "\n")
        #expect(Self.printed("tick", "not json", json: true) == #"{"event":"tick","id":"e-1","data":"not json"}"# + "\n")
    }

    @Test func `nothing that a publisher sends reaches the terminal as a command`() {
        let data =
            "{\"flow_id\":\"a\",\"version\":1,\"data\":\"\u{9B}31m\u{7F}\u{202E}\",\"timestamp\":\"2026-11-23T19:05:00.123Z\"}"
        #expect(Self.printed("tick", data) == "19:05:00 #1      tick           \"\\u{9b}31m\\u{7f}\\u{202e}\"\n")
        #expect(!Self.printed("closing", #"{"reason":"\u001b[2J","reconnect":true}"#).contains("\u{1B}"))
        #expect(!Self.printed("tick", "\u{1B}[2J").contains("\u{1B}"))
        #expect(!Self.printed("tick", #"{"data":{"percent":40,"message":"\u001b[2J"}}"#).contains("\u{1B}"))
    }

    @Test func `progress is drawn`() throws {
        let progress = try #require(Progress(JSONText(validating: #"{"done":3,"total":12,"stage":"reading"}"#.utf8)))
        #expect(progress.bar(Palette(isOn: false), cells: 8) == "██░░░░░░ 25% ")
        #expect(progress.note == "reading")
        #expect(try Progress(JSONText(validating: #"{"n":1}"#.utf8)) == nil)
        #expect(try Progress(JSONText(validating: #"{"percent":1e300}"#.utf8))?.share == 1)
    }

    @Test func `a state is laid out and otherwise as it was written`() throws {
        let text = try JSONText(validating: #"{"a":[],"b":{},"c":[1,{"d":1.50}],"e":"x\u0041"}"#.utf8)
        #expect(
            text.pretty == """
                {
                  "a": [],
                  "b": {},
                  "c": [
                    1,
                    {
                      "d": 1.50
                    }
                  ],
                  "e": "x\\u0041"
                }
                """)
        #expect(JSONText.null.pretty == "null")
    }

    @Test func `a cut counts what is seen`() {
        #expect("abcdef".cut(to: 4) == "abc…")
        #expect("\u{1B}[31mabcdef\u{1B}[0m".cut(to: 4) == "\u{1B}[31mabc…\u{1B}[0m")
        #expect("abc".cut(to: 4) == "abc")
    }
}

@Suite struct TokenCommandTests {
    @Test(arguments: [("90", 90), ("30s", 30), ("15m", 900), ("1h", 3600), ("7d", 604_800), ("365d", 31_536_000)])
    func `a time to live is read`(text: String, seconds: Int) throws {
        #expect(try TokenCommand.seconds(text) == seconds)
    }

    @Test(arguments: ["", "h", "0", "-1h", "1w", "366d", "9223372036854775807d", "1.5h"])
    func `what is no time to live is refused`(text: String) {
        #expect(throws: CommandFailure.self) { try TokenCommand.seconds(text) }
    }
}
