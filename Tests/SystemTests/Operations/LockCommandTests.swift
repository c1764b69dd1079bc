import FlowCore
import FlowTestKit
import Foundation
import Testing

/// `flowhub lock`: a program runs only while its lock is held.
@Suite(.hub())
struct LockCommandTests {
    /// A shell loop that runs until a file exists.
    private static func untilExists(_ file: String) -> String { "until test -e '\(file)'; do sleep 0.02; done" }

    private static let reportsItsLock = #"echo "$FLOWHUB_LOCK_RESOURCE $FLOWHUB_LOCK_ID $FLOWHUB_FENCING_TOKEN.""#

    private static func acquire(_ resource: String, _ hub: HubProcess, ttl: Int = 60) async throws -> HTTPReply {
        try await hub.call("POST", "/v1/locks/\(resource)", body: "{\"ttl\":\(ttl)}")
    }

    @Test func holdsLockWhileProgramRunsAndReturnsItsExitCode() async throws {
        let hub = try SharedHub.hub
        let go = hub.folder.path + "/go-life"
        let script = "\(Self.reportsItsLock); \(Self.untilExists(go)); exit 64"
        try await LockedProgram.running(hub, ["life", "--", "sh", "-c", script]) { locked in
            let (id, token) = try await locked.lock("life")
            #expect(try await Self.acquire("life", hub).problemCode == "lock_held")
            let renewed = try await hub.call("PUT", "/v1/locks/life?lock_id=\(id)", body: #"{"ttl":30}"#)
            #expect(renewed.status == 200 && renewed.json.member("fencing_token")?.intValue == token)
            #expect(FileManager.default.createFile(atPath: go, contents: nil))
            #expect(try await locked.process.waitForExit() == .code(64))
            #expect(locked.process.errorOutput.isEmpty)
        }
        #expect(try await Self.acquire("life", hub).status == 201, "it was released")
    }

    @Test func passesStandardInputAndReportsTerminatingSignal() async throws {
        let hub = try SharedHub.hub
        let binary = try HubBinary.path()
        let script = "echo through | '\(binary)' lock inherit -- cat; '\(binary)' lock inherit -- sh -c 'kill -9 $$'; echo $?"
        let shell = try ChildProcess(
            "/bin/sh", ["-c", script], environment: ["FLOWHUB_URL": hub.url], folder: hub.folder.path)
        #expect(try await shell.waitForExit() == .code(0))
        #expect(shell.output == "through\n137\n")
    }

    @Test func programControlsTerminalAndReceivesSignals() async throws {
        let hub = try SharedHub.hub
        let program = "read line; echo \"got $line\"; kill -TERM $PPID; while :; do sleep 0.02; done"
        let command = "'\(try HubBinary.path())' lock terminal -- sh -c 'trap \"echo interrupted; exit 9\" TERM; \(program)'"
        let file = hub.folder.path + "/terminal.sh"
        #expect(FileManager.default.createFile(atPath: file, contents: Data(command.utf8)))
        // script(1) runs the command in a new terminal.
        let shell = try ChildProcess(
            "/bin/sh", ["-c", "echo typed | script -qec 'sh \(file)' /dev/null"], environment: ["FLOWHUB_URL": hub.url],
            folder: hub.folder.path)
        let exit = try? await shell.waitForExit()
        await shell.destroy()
        #expect(exit == .code(9))
        #expect(shell.output.contains("got typed"), "\(shell.output)")
        #expect(shell.output.split(separator: "interrupted", omittingEmptySubsequences: false).count == 2, "\(shell.output)")
    }

    @Test func passesNonUTF8ArgumentsAndVariablesUnchanged() async throws {
        let hub = try SharedHub.hub
        let script = """
            export ODD="$(printf 'a\\377b=c')"
            '\(try HubBinary.path())' lock bytes -- sh -c 'printf "%s|%s|%s|%s" "$ODD" "$@" | od -An -tx1' sh "$(printf 'x\\376')" '' '-- y'
            """
        let shell = try ChildProcess("/bin/sh", ["-c", script], environment: ["FLOWHUB_URL": hub.url], folder: hub.folder.path)
        #expect(try await shell.waitForExit() == .code(0))
        let expected = "61 ff 62 3d 63 7c 78 fe 7c 7c 2d 2d 20 79"
        #expect(shell.output.split(whereSeparator: \.isWhitespace).joined(separator: " ") == expected)
    }

    @Test func failsImmediatelyIfLockIsHeld() async throws {
        let hub = try SharedHub.hub
        #expect(try await Self.acquire("held", hub).status == 201)
        let (exit, output, errors) = try await hub.lock(["held", "--", "echo", "ran"])
        #expect(exit == .code(4) && output.isEmpty && errors.contains("lock_held"), "\(errors)")
    }

    @Test func waitOptionWaitsForHeldLockAndTimesOut() async throws {
        let hub = try SharedHub.hub
        let id = try #require(try await Self.acquire("wait", hub).json.member("lock_id")?.stringValue)
        let timedOut = try await hub.lock(["wait", "--wait", "1", "--", "echo", "ran"])
        #expect(timedOut.exit == .code(4) && timedOut.output.isEmpty)
        try await LockedProgram.running(hub, ["wait", "--wait", "60", "--", "echo", "ran"]) { locked in
            try await locked.waitUntilPrinted("waiting")
            #expect(locked.process.output.isEmpty)
            #expect(try await hub.call("DELETE", "/v1/locks/wait?lock_id=\(id)").status == 204)
            #expect(try await locked.process.waitForExit() == .code(0))
            #expect(locked.process.output == "ran\n")
        }
    }

    @Test func renewsLockWhileProgramRuns() async throws {
        let hub = try SharedHub.hub
        let go = hub.folder.path + "/go-renewal"
        let script = "\(Self.reportsItsLock); \(Self.untilExists(go))"
        try await LockedProgram.running(hub, ["renewal", "--ttl", "1", "--", "sh", "-c", script]) { locked in
            _ = try await locked.lock("renewal")
            let end = ContinuousClock.now + .seconds(3)
            try await eventually("three times the lock's TTL") {
                let rejected = try await Self.acquire("renewal", hub)
                #expect(rejected.status == 409)
                return ContinuousClock.now > end
            }
            #expect(FileManager.default.createFile(atPath: go, contents: nil))
            #expect(try await locked.process.waitForExit() == .code(0))
        }
        #expect(try await Self.acquire("renewal", hub).status == 201)
    }

    @Test func terminatesProgramWhenLockIsLost() async throws {
        let hub = try SharedHub.hub
        let script = "trap 'echo cleaned; exit 0' TERM; \(Self.reportsItsLock); while :; do sleep 0.02; done"
        try await LockedProgram.running(hub, ["lost", "--ttl", "1", "--", "sh", "-c", script]) { locked in
            let (id, _) = try await locked.lock("lost")
            #expect(try await hub.call("DELETE", "/v1/locks/lost?lock_id=\(id)").status == 204)
            #expect(try await locked.process.waitForExit() == .code(5))
            #expect(locked.process.output.hasSuffix("cleaned\n"))
            #expect(locked.process.errorOutput.contains("lock was lost"), "\(locked.process.errorOutput)")
        }
    }

    @Test func killsProcessGroupAfterGracePeriod() async throws {
        let hub = try SharedHub.hub
        let script = "trap '' TERM; sh -c 'echo $$; while :; do sleep 0.02; done' & \(Self.reportsItsLock); echo $$; wait"
        try await LockedProgram.running(hub, ["deaf", "--ttl", "1", "--grace", "1", "--", "sh", "-c", script]) { locked in
            let (id, _) = try await locked.lock("deaf")
            try await eventually("both numbers") { locked.numbers.count == 2 }
            #expect(try await hub.call("DELETE", "/v1/locks/deaf?lock_id=\(id)").status == 204)
            #expect(try await locked.process.waitForExit() == .code(5))
            for number in locked.numbers {
                try await eventually("the end of \(number)") { !Processes.isAlive(number) }
            }
        }
    }

    @Test func endsProgramIfLockExpiresWithoutHub() async {
        await concurrently([true, false], self.endsProgramIfLockExpiresWithoutHub(isKilled:))
    }

    private func endsProgramIfLockExpiresWithoutHub(isKilled: Bool) async throws {
        try await HubProcess.running { hub in
            let script = "\(Self.reportsItsLock); echo $$; exec sleep 600"
            try await LockedProgram.running(hub, ["gone", "--ttl", "2", "--", "sh", "-c", script]) { locked in
                _ = try await locked.lock("gone")
                try await eventually("its number") { locked.numbers.count == 1 }
                if isKilled { try await hub.kill() } else { hub.pause() }
                #expect(try await locked.process.waitForExit() == .code(5))
                #expect(locked.numbers.allSatisfy { !Processes.isAlive($0) })
                let errors = locked.process.errorOutput
                #expect(errors.contains("retrying") && errors.contains("could not be renewed within 2 s"), "\(errors)")
            }
        }
    }

    @Test func shortHubOutageDoesNotAffectProgram() async throws {
        try await HubProcess.running { hub in
            let go = hub.folder.path + "/go"
            let script = "\(Self.reportsItsLock); \(Self.untilExists(go)); exit 3"
            try await LockedProgram.running(hub, ["away", "--ttl", "6", "--", "sh", "-c", script]) { locked in
                _ = try await locked.lock("away")
                hub.pause()
                try await locked.waitUntilPrinted("retrying")
                hub.resume()
                try await locked.waitUntilPrinted("lock renewed")
                #expect(FileManager.default.createFile(atPath: go, contents: nil))
                #expect(try await locked.process.waitForExit() == .code(3))
            }
        }
    }

    @Test(arguments: [SIGTERM, SIGINT, SIGHUP])
    func forwardsSignalsToProgram(_ signal: Int32) async throws {
        // A child inherits ignored signals.
        guard !Processes.isIgnored(signal) else { return }
        let hub = try SharedHub.hub
        let resource = "signal-\(signal)"
        let script = "trap 'echo heard; exit 42' TERM INT HUP; \(Self.reportsItsLock); while :; do sleep 0.02; done"
        try await LockedProgram.running(hub, [resource, "--", "sh", "-c", script]) { locked in
            _ = try await locked.lock(resource)
            locked.process.send(signal)
            #expect(try await locked.process.waitForExit() == .code(42))
            #expect(locked.process.output.hasSuffix("heard\n"))
        }
        #expect(try await Self.acquire(resource, hub).status == 201, "it was released")
    }

    @Test func signalEndsWaitForLock() async throws {
        let hub = try SharedHub.hub
        #expect(try await Self.acquire("busy", hub).status == 201)
        try await LockedProgram.running(hub, ["busy", "--wait", "600", "--", "echo", "ran"]) { locked in
            try await locked.waitUntilPrinted("waiting")
            locked.process.send(SIGTERM)
            #expect(try await locked.process.waitForExit() == .code(128 + SIGTERM))
            #expect(locked.process.output.isEmpty)
        }
    }

    @Test(arguments: [("/nowhere/program", 127), ("/etc/passwd", 126)])
    func releasesLockIfProgramCannotRun(_ program: String, _ code: Int32) async throws {
        let hub = try SharedHub.hub
        let (exit, _, errors) = try await hub.lock(["unrunnable-\(code)", "--", program])
        #expect(exit == .code(code) && errors.contains(program), "\(errors)")
        #expect(try await Self.acquire("unrunnable-\(code)", hub).status == 201)
    }

    @Test(
        arguments: [
            [], ["r"], ["r", "--"], ["r", "echo", "ran"], ["a b", "--", "echo", "ran"], ["..", "--", "echo", "ran"],
            ["r", "--ttl", "0", "--", "echo", "ran"], ["r", "--grace", "-1", "--", "echo", "ran"],
        ])
    func rejectsInvalidUsage(_ arguments: [String]) async throws {
        let (exit, output, errors) = try await SharedHub.hub.lock(arguments)
        #expect(exit == .code(2) && output.isEmpty && !errors.isEmpty)
    }

    @Test func reportsMissingScopeAndUnreachableHub() async throws {
        try await HubProcess.running(["FLOWHUB_JWT_KEY": TestToken.key]) { hub in
            for (scopes, code) in [(["admin"], 1), (["locks"], 0)] {
                let (exit, _, errors) = try await hub.lock(
                    ["r", "--", "echo", "ran"], ["FLOWHUB_TOKEN": TestToken(scopes: scopes).text])
                #expect(exit == .code(Int32(code)), "\(errors)")
            }
        }
        let (exit, output, _) = try await SettingsTests.run(
            ["lock", "r", "--", "echo", "ran"], ["FLOWHUB_URL": "http://127.0.0.1:1"])
        #expect(exit == .code(3) && output.isEmpty)
    }
}

/// A running `flowhub lock` under test.
private struct LockedProgram {
    let process: ChildProcess

    /// Runs `flowhub lock` during `body`. If `body` throws, ends it and its program.
    static func running(_ hub: HubProcess, _ arguments: [String], _ body: (LockedProgram) async throws -> Void) async throws {
        let locked = LockedProgram(
            process: try ChildProcess(
                HubBinary.path(), ["lock"] + arguments, environment: ["FLOWHUB_URL": hub.url], folder: hub.folder.path))
        do { try await body(locked) } catch {
            // SIGTERM lets it end its program; after SIGKILL the program would continue.
            locked.process.send(SIGTERM)
            _ = try? await locked.process.waitForExit(within: .seconds(15))
            await locked.process.destroy()
            throw error
        }
    }

    /// The lock that the program has printed.
    func lock(_ resource: String) async throws -> (id: String, fencingToken: Int64) {
        var fields: [Substring] = []
        try await eventually("the lock that the program prints") {
            if let exit = self.process.exit { throw TimedOut("\(exit): \(self.process.errorOutput)") }
            fields = self.process.output.split(separator: "\n").first { $0.hasSuffix(".") }?.split(separator: " ") ?? []
            return fields.count == 3
        }
        #expect(fields[0] == resource)
        return (String(fields[1]), try #require(Int64(fields[2].dropLast())))
    }

    /// The process ids that the program has printed.
    var numbers: [Int32] { self.process.output.split(separator: "\n").compactMap { Int32($0) } }

    func waitUntilPrinted(_ text: String) async throws {
        try await eventually("\"\(text)\"") { self.process.errorOutput.contains(text) }
    }
}

extension HubProcess {
    fileprivate var url: String { "http://127.0.0.1:\(self.port)" }

    /// Runs `flowhub lock` and waits for its exit.
    fileprivate func lock(_ arguments: [String], _ environment: [String: String] = [:]) async throws -> (
        exit: ChildProcess.Exit, output: String, errors: String
    ) {
        try await SettingsTests.run(["lock"] + arguments, environment.merging(["FLOWHUB_URL": self.url]) { $1 })
    }
}
