import FlowCore
import Foundation
import Testing

@Suite struct FlowValueTests {
    @Test(arguments: ["a", "A-1_b.c:d", "...", "a..", "-", "0", String(repeating: "x", count: 128)])
    func acceptsValidFlowID(_ text: String) { #expect(FlowID(text)?.description == text) }

    @Test(arguments: [
        "", ".", "..", "a b", "a/b", "a\n", "a\u{0}", "ä", "a%", "a*", "~", "e\u{301}", String(repeating: "x", count: 129),
    ])
    func rejectsInvalidFlowIDAndEventType(_ text: String) {
        #expect(FlowID(text) == nil)
        #expect(EventType(text) == nil)
    }

    @Test func flowIDsAreOrderedByBytes() {
        #expect(["b", "a", "B", "a.", "a-"].map(Sample.id).sorted().map(\.rawValue) == ["B", "a", "a-", "a.", "b"])
    }

    @Test func eventTypesHaveMaximumLengthAndReservedNames() {
        #expect(EventType(String(repeating: "x", count: 64)) != nil)
        #expect(EventType(String(repeating: "x", count: 65)) == nil)
        let own =
            "snapshot resync caught_up heartbeat closing presence state_update flow_deleted flow flows error open message "
            + "import_progress import_stored import_failed"
        for name in own.split(separator: " ") { #expect(EventType(name)?.isReserved == true, "\(name)") }
        for name in ["Snapshot", "tick", "snapshot2", "errors"] { #expect(EventType(name)?.isReserved == false, "\(name)") }
    }

    @Test func epochsAreParsedRaisedAndOrdered() throws {
        let epoch = try #require(Epoch("zz.0a"))
        #expect(epoch.counter == 1_295)
        #expect(epoch.description == "zz.0a")
        #expect(epoch.raised(atUnixSeconds: 10, random: "r").description == "100.r")
        #expect(epoch.raised(atUnixSeconds: 1_295, random: "r").counter == 1_296)
        #expect(epoch.raised(atUnixSeconds: 5_000, random: "r").counter == 5_000)
        #expect(epoch.raised(atUnixSeconds: -5, random: "r").counter == 1_296)
        #expect(Epoch(counter: 2, random: "a") < Epoch(counter: 10, random: "0"))
        #expect(Epoch(counter: 2, random: "a") < Epoch(counter: 2, random: "b"))
        #expect(epoch < epoch.raised(atUnixSeconds: 0, random: "0"))
    }

    @Test(arguments: ["", ".", "1", "1.", ".a", "1.A", "1.a.b", "1.a-", "-1.a", "1.ä", "zzzzzzzzzzzzzz.a", "1.aaaaaaaaaaaaaaa"])
    func rejectsInvalidEpoch(_ text: String) { #expect(Epoch(text) == nil) }

    @Test(arguments: ["+1.a", "Z.a", "01.a"])
    func rejectsNoncanonicalEpoch(_ text: String) {
        #expect(Epoch(text) == nil)
    }

    @Test func timestampFormatMatchesFoundation() {
        let format = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
        var generator = SeededGenerator(seed: 4)
        var samples: [Int64] = [0, -1, -1_000, 951_782_400_000, 951_868_799_999, -2_203_891_200_000, 4_107_542_400_000]
        // Years 1600 to 2400. Before 1582 Foundation does not use the proleptic Gregorian calendar, and the results differ.
        for _ in 0..<3_000 { samples.append(Int64.random(in: -11_670_000_000_000...13_570_000_000_000, using: &generator)) }
        for year in stride(from: 1_904, through: 2_096, by: 4) {
            let days = Int64((year - 1970) * 365 + (year - 1969) / 4 + 59 - (year < 1969 ? 1 : 0) - (year < 1970 ? 0 : 0))
            samples += [days * 86_400_000, days * 86_400_000 - 1, days * 86_400_000 + 86_399_999]
        }
        for sample in samples {
            // A quarter of a millisecond is added, because Foundation truncates and a double is not exact.
            let date = Date(timeIntervalSince1970: (Double(sample) + 0.25) / 1_000)
            #expect(Timestamp(milliseconds: sample).description == date.formatted(format), "\(sample)")
        }
    }

    @Test func timestampsAdvanceCompareAndFormat() {
        let time = Timestamp(milliseconds: 1_500)
        #expect(time.seconds == 1)
        #expect(time.advanced(bySeconds: -2) == Timestamp(milliseconds: -500))
        #expect(time.advanced(bySeconds: 1) > time)
        #expect(Timestamp(milliseconds: 951_782_400_000).description == "2000-02-29T00:00:00.000Z")
    }

    @Test(arguments: [
        ("{}", "active", false), (#"{"status":"completed"}"#, "completed", true), (#"{"status":"failed"}"#, "failed", true),
        (#"{"status":"cancelled"}"#, "cancelled", true), (#"{"status":"deleted"}"#, "deleted", true),
        (#"{"status":"Completed"}"#, "Completed", false), (#"{"status":""}"#, "active", false),
        (#"{"status":5}"#, "active", false), (#"{"status":null}"#, "active", false),
        (#"{"status":"a","status":"failed"}"#, "failed", true), (#"{"st\u0061tus":"failed"}"#, "failed", true),
        (#"{"x":{"status":"failed"}}"#, "active", false),
    ])
    func derivesStatusFromState(_ state: String, _ expected: String, _ ends: Bool) {
        let status = FlowStatus(of: Sample.json(state))
        #expect(status.rawValue == expected)
        #expect(status.isTerminal == ends)
    }

    @Test func overlongStatusCountsAsActive() {
        func status(_ count: Int) -> FlowStatus {
            FlowStatus(of: Sample.json(#"{"status":"\#(String(repeating: "s", count: count))"}"#))
        }
        #expect(status(64).rawValue.count == 64)
        #expect(status(65) == .active)
    }
}
