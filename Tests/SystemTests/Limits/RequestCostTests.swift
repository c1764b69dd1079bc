import FlowCore
import FlowTestKit
import Foundation
import Testing

/// Requests of one account, each at a limit, do not delay the requests of another account. Phases with and without the
/// attack alternate, and the medians are compared, so that a busy machine slows both. With `FLOWHUB_TEST_FULL=1` (against a
/// release build) the sizes are the default limits, and the 99th percentiles are compared too.
@Suite struct RequestCostTests {
    struct Attack: CustomTestStringConvertible, Sendable {
        var name: String
        /// The state of the attacked flow.
        var state: @Sendable (_ members: Int) -> String
        /// One request; the number makes it different from the others.
        var request: @Sendable (_ api: HubAPI, _ number: Int, _ members: Int) async throws -> Void

        var testDescription: String { self.name }
    }

    private static func nested(_ text: String, depth: Int) -> String {
        String(repeating: #"{"a":"#, count: depth) + text + String(repeating: "}", count: depth)
    }

    private static func object(_ count: Int, _ member: (Int) -> String) -> String {
        "{" + (0..<count).map(member).joined(separator: ",") + "}"
    }

    static let attacks: [Attack] = [
        Attack(
            name: "a small patch of a deep and wide state",
            state: { #"{"q":\#(Self.nested(Self.object($0) { #""k\#($0)":0"# }, depth: 61)),"z":0}"# },
            request: { api, number, _ in
                let patched = try await api.patch("deep", try json(#"{"z":\#(number)}"#))
                #expect(patched.status == 200)
            }),
        Attack(
            name: "a patch at the bottom of a deep and wide state",
            state: { Self.nested(Self.object($0) { #""k\#($0)":0"# }, depth: 62) },
            request: { api, number, _ in
                let patch = Self.nested(#"{"k0":\#(number)}"#, depth: 62)
                let patched = try await api.patch("deep", try json(patch))
                #expect(patched.status == 200)
            }),
        Attack(
            name: "an array with too many events", state: { _ in "{}" },
            request: { api, _, members in
                let zeros = "[" + Array(repeating: "0", count: 6 * members).joined(separator: ",") + "]"
                let call = HTTPCall(
                    "POST", "/v1/flows/deep/events", headers: api.headers, body: Array(zeros.utf8))
                let reply = try await api.caller.perform(call)
                #expect(reply.status == 413)
            }),
    ]

    @Test(arguments: Self.attacks) func theRequestsOfOneAccountDoNotDelayThoseOfAnother(_ attack: Attack) async throws {
        let members = TestScale.pick(4_000, full: 80_000)
        let environment = ["FLOWHUB_JWT_KEY": TestToken.key]
        try await HubProcess.running(environment) { hub in
            let token = TestToken(account: "8").header
            let attacker = hub.api.with(header: token.name, token.value)
            let own = TestToken().header
            let victim = hub.api.with(header: own.name, own.value)
            let put = try await attacker.put("deep", try json(attack.state(members)))
            #expect(put.status == 201)
            var idle: [Double] = []
            var attacked: [Double] = []
            for phase in 0..<TestScale.pick(3, full: 10) {
                idle += try await Self.latencies(of: victim)
                attacked += try await Self.underAttack(attack, attacker, phase: phase, members: members) {
                    try await Self.latencies(of: victim)
                }
            }
            let (before, during) = (Self.percentile(50, of: idle), Self.percentile(50, of: attacked))
            #expect(during < 3 * before + 60, "median \(before) ms, under attack \(during) ms")
            if TestScale.isFull {
                let (before, during) = (Self.percentile(99, of: idle), Self.percentile(99, of: attacked))
                #expect(during < 1.5 * before + 1, "99th percentile \(before) ms, under attack \(during) ms")
            }
        }
    }

    /// Runs the body while eight clients attack.
    private static func underAttack<Value: Sendable>(
        _ attack: Attack, _ api: HubAPI, phase: Int, members: Int, _ body: () async throws -> Value
    ) async throws -> Value {
        let attackers = (0..<8).map { client in
            Task {
                var number = phase * 1_000_000 + client * 10_000
                while !Task.isCancelled {
                    number += 1
                    try await attack.request(api, number, members)
                }
            }
        }
        let result: Result<Value, any Error>
        do { result = .success(try await body()) } catch { result = .failure(error) }
        for attacker in attackers { attacker.cancel() }
        for attacker in attackers { _ = await attacker.result }
        return try result.get()
    }

    /// The durations of publications, one after the other, in milliseconds.
    private static func latencies(of api: HubAPI) async throws -> [Double] {
        var latencies: [Double] = []
        for _ in 0..<TestScale.pick(30, full: 200) {
            let start = ContinuousClock.now
            let published = try await api.publish("tick", .null, to: "own")
            #expect(published.status == 201)
            latencies.append((ContinuousClock.now - start) / .milliseconds(1))
        }
        return latencies
    }

    private static func percentile(_ percent: Int, of values: [Double]) -> Double {
        values.sorted()[min(values.count - 1, values.count * percent / 100)]
    }
}

private func json(_ text: String) throws -> JSONText { try JSONText(validating: text.utf8) }
