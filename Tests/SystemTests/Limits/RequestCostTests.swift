import FlowCore
import FlowTestKit
import Foundation
import Testing

/// Requests of one account, each at a limit, do not delay the requests of another account. Phases with and without the
/// attack alternate, and the medians are compared, so that a busy machine slows both.
///
/// With `FLOWHUB_TEST_FULL=1` (against a release build) the 99th percentiles are compared too: at a twentieth of the limits with
/// those of an idle hub, and at the limits with those under requests of the same size whose text is one long string. A request at a
/// limit costs others the time that its bytes take; its structure must not cost them more.
@Suite struct RequestCostTests {
    struct Attack: CustomTestStringConvertible, Sendable {
        var name: String
        /// The state of the attacked flow.
        var state: @Sendable (_ members: Int) -> String
        var method: String
        var target: String
        /// The body of one request. `%N` is replaced by a number that makes the request different from the others.
        var body: @Sendable (_ members: Int) -> String
        /// The same request without the structure that could be costly: its text is one long string. `nil` if an idle hub is the
        /// comparison at each size.
        var plain: Plain?
        /// The expected status of the response.
        var status: Int

        var testDescription: String { self.name }
    }

    /// A request of the same size without costly structure.
    struct Plain: Sendable {
        var state: @Sendable (_ members: Int) -> String
        var body: @Sendable (_ members: Int) -> String
    }

    private static let plainPatch = Plain(
        state: { #"{"z":0,"s":"\#(Self.text(of: $0))"}"# }, body: { _ in #"{"z":%N}"# })
    private static let plainState = Plain(state: { _ in "{}" }, body: { #"{"z":%N,"s":"\#(Self.text(of: $0))"}"# })

    /// A string about as long as an object of this number of members.
    private static func text(of members: Int) -> String { String(repeating: "x", count: members * 11) }

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
            method: "PATCH", target: "/v1/flows/deep/state", body: { _ in #"{"z":%N}"# }, plain: Self.plainPatch,
            status: 200),
        Attack(
            name: "a patch at the bottom of a deep and wide state",
            state: { Self.nested(Self.object($0) { #""k\#($0)":0"# }, depth: 62) },
            method: "PATCH", target: "/v1/flows/deep/state", body: { _ in Self.nested(#"{"k0":%N}"#, depth: 62) },
            plain: Self.plainPatch, status: 200),
        Attack(
            name: "a large new state", state: { _ in "{}" },
            method: "PUT", target: "/v1/flows/deep/state",
            body: { #"{"q":\#(Self.object($0) { #""k\#($0)":0"# }),"z":%N}"# }, plain: Self.plainState, status: 200),
        Attack(
            name: "an array with too many events", state: { _ in "{}" },
            method: "POST", target: "/v1/flows/deep/events",
            body: { "[" + Array(repeating: "0", count: 6 * $0).joined(separator: ",") + "]" }, status: 413),
    ]

    /// Sends the same request again and again on several connections, until it is ended. Exits with 1 after another status than
    /// the expected one. A client in Python, so that this process can measure meanwhile.
    private static let attacker = """
        import socket, sys, threading, os
        port, clients, method, target, token, status, first, path = sys.argv[1:]
        template = open(path, "rb").read()
        def attack(client):
            connection = socket.create_connection(("127.0.0.1", int(port)))
            number = int(first) + client * 10000
            while True:
                number += 1
                body = template.replace(b"%N", str(number).encode())
                kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
                head = f"{method} {target} HTTP/1.1\\r\\nHost: localhost\\r\\nAuthorization: {token}\\r\\n"
                head += f"Content-Type: {kind}\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n"
                connection.sendall(head.encode() + body)
                reply = b""
                while b"\\r\\n\\r\\n" not in reply:
                    piece = connection.recv(1 << 18)
                    if not piece: os._exit(2)
                    reply += piece
                head, rest = reply.split(b"\\r\\n\\r\\n", 1)
                if head.split()[1] != status.encode():
                    print(head, flush=True)
                    os._exit(1)
                length = next(int(line.split(b":")[1]) for line in head.split(b"\\r\\n") if line.lower().startswith(b"content-length:"))
                count = len(rest)
                while count < length:
                    count += len(connection.recv(1 << 18))
                print(number, flush=True)
        threads = [threading.Thread(target=attack, args=(client,)) for client in range(int(clients))]
        for thread in threads: thread.start()
        """

    @Test(arguments: Self.attacks) func theRequestsOfOneAccountDoNotDelayThoseOfAnother(_ attack: Attack) async throws {
        try await Self.compare(attack, with: nil, members: 4_000)
        if TestScale.isFull { try await Self.compare(attack, with: attack.plain, members: 80_000) }
    }

    /// Compares the latencies of a client while another account attacks with those of an idle hub, or with those while the
    /// other account sends plain requests of the same size.
    private static func compare(_ attack: Attack, with plain: Plain?, members: Int) async throws {
        let environment = ["FLOWHUB_JWT_KEY": TestToken.key]
        try await HubProcess.running(environment) { hub in
            let token = TestToken(account: "8").header
            let attacker = hub.api.with(header: token.name, token.value)
            let own = TestToken().header
            let victim = hub.api.with(header: own.name, own.value)
            var calm: [Double] = []
            var attacked: [Double] = []
            for phase in 0..<TestScale.pick(3, full: 8) {
                if let plain {
                    var request = attack
                    (request.state, request.body) = (plain.state, plain.body)
                    #expect(try await attacker.put("deep", try json(plain.state(members))).status < 300)
                    calm += try await Self.underAttack(request, hub, token: token.value, phase: 2 * phase, members: members) {
                        try await Self.latencies(of: victim)
                    }
                } else {
                    calm += try await Self.latencies(of: victim)
                }
                #expect(try await attacker.put("deep", try json(attack.state(members))).status < 300)
                attacked += try await Self.underAttack(attack, hub, token: token.value, phase: 2 * phase + 1, members: members) {
                    try await Self.latencies(of: victim)
                }
            }
            let (before, during) = (Self.percentile(50, of: calm), Self.percentile(50, of: attacked))
            #expect(during < 3 * before + 60, "median \(before) ms, under attack \(during) ms")
            if TestScale.isFull {
                let (before, during) = (Self.percentile(99, of: calm), Self.percentile(99, of: attacked))
                print("\(attack.name), \(members) members: 99th percentile \(before) ms, under attack \(during) ms")
                #expect(during < 1.5 * before + 1, "99th percentile \(before) ms, under attack \(during) ms")
            }
        }
    }

    /// Runs the body while clients attack: three, or with `FLOWHUB_TEST_FULL=1` one. Many clients that wait for nothing would
    /// take all processors, whatever they sent.
    private static func underAttack<Value: Sendable>(
        _ attack: Attack, _ hub: HubProcess, token: String, phase: Int, members: Int, _ body: () async throws -> Value
    ) async throws -> Value {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        try attack.body(members).write(toFile: "\(folder.path)/body", atomically: true, encoding: .utf8)
        let process = try ChildProcess(
            try TestTools.program("python"),
            [
                "-c", Self.attacker, String(hub.port), String(TestScale.pick(3, full: 1)), attack.method, attack.target, token,
                String(attack.status), String((phase + 1) * 1_000_000), "\(folder.path)/body",
            ], environment: [:], folder: folder.path)
        let result: Result<Value, any Error>
        do {
            try await eventually("the first response to the attacker") {
                try #require(process.exit == nil, "\(process.output) \(process.errorOutput)")
                return !process.output.isEmpty
            }
            result = .success(try await body())
        } catch {
            result = .failure(error)
        }
        #expect(process.exit == nil, "\(process.output.suffix(500)) \(process.errorOutput)")
        await process.destroy()
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
