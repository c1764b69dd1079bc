import FlowCore
import FlowTestKit
import Foundation
import Testing

/// `flowhub lock`: a program runs while its lock is held, and no longer.
@Suite(.hub())
struct LockCommandTests {
    /// Runs until there is a file of this name.
    private static func untilThere(_ file: String) -> String { "until test -e '\(file)'; do sleep 0.02; done" }

    private static let reportsItsLock = #"echo "$FLOWHUB_LOCK_RESOURCE $FLOWHUB_LOCK_ID $FLOWHUB_FENCING_TOKEN.""#

    private static func take(_ resource: String, _ hub: HubProcess, ttl: Int = 60) async throws -> HTTPReply {
        try await hub.call("POST", "/v1/locks/\(resource)", body: "{\"ttl\":\(ttl)}")
    }

    @Test("the program has the lock and knows it, and its exit code becomes ours")
    func life() async throws {
        let hub = try SharedHub.hub
        let go = hub.folder.path + "/go-life"
        let script = "\(Self.reportsItsLock); \(Self.untilThere(go)); exit 64"
        try await LockedProgram.running(hub, ["life", "--", "sh", "-c", script]) { locked in
            let (id, token) = try await locked.lock("life")
            #expect(try await Self.take("life", hub).problemCode == "lock_held")
            let renewed = try await hub.call("PUT", "/v1/locks/life?lock_id=\(id)", body: #"{"ttl":30}"#)
            #expect(renewed.status == 200 && renewed.json.member("fencing_token")?.intValue == token)
            #expect(FileManager.default.createFile(atPath: go, contents: nil))
            #expect(try await locked.process.waitForExit() == .code(64))
            #expect(locked.process.errorOutput.isEmpty)
        }
        #expect(try await Self.take("life", hub).status == 201, "it was released")
    }

    @Test("standard input is the program's, and so is an end by a signal")
    func inheritance() async throws {
        let hub = try SharedHub.hub
        let binary = try HubBinary.path()
        let script = "echo through | '\(binary)' lock inherit -- cat; '\(binary)' lock inherit -- sh -c 'kill -9 $$'; echo $?"
        let shell = try ChildProcess(
            "/bin/sh", ["-c", script], environment: ["FLOWHUB_URL": hub.url], folder: hub.folder.path)
        #expect(try await shell.waitForExit() == .code(0))
        #expect(shell.output == "through\n137\n")
    }

    @Test("a program has the terminal, and signals reach it there, too")
    func terminal() async throws {
        let hub = try SharedHub.hub
        let program = "read line; echo \"got $line\"; kill -TERM $PPID; while :; do sleep 0.02; done"
        let command = "'\(try HubBinary.path())' lock terminal -- sh -c 'trap \"echo interrupted; exit 9\" TERM; \(program)'"
        let file = hub.folder.path + "/terminal.sh"
        #expect(FileManager.default.createFile(atPath: file, contents: Data(command.utf8)))
        // script(1) runs it in a terminal of its own.
        let shell = try ChildProcess(
            "/bin/sh", ["-c", "echo typed | script -qec 'sh \(file)' /dev/null"], environment: ["FLOWHUB_URL": hub.url],
            folder: hub.folder.path)
        let exit = try? await shell.waitForExit()
        await shell.destroy()
        #expect(exit == .code(9))
        #expect(shell.output.contains("got typed"), "\(shell.output)")
        #expect(shell.output.split(separator: "interrupted", omittingEmptySubsequences: false).count == 2, "\(shell.output)")
    }

    @Test("arguments and variables reach the program as they are, also where they are not UTF-8")
    func bytes() async throws {
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

    @Test("a held lock is refused at once")
    func held() async throws {
        let hub = try SharedHub.hub
        #expect(try await Self.take("held", hub).status == 201)
        let (exit, output, errors) = try await hub.lock(["held", "--", "echo", "ran"])
        #expect(exit == .code(4) && output.isEmpty && errors.contains("lock_held"), "\(errors)")
    }

    @Test("--wait waits for a held lock, and gives up")
    func waiting() async throws {
        let hub = try SharedHub.hub
        let id = try #require(try await Self.take("wait", hub).json.member("lock_id")?.stringValue)
        let gaveUp = try await hub.lock(["wait", "--wait", "1", "--", "echo", "ran"])
        #expect(gaveUp.exit == .code(4) && gaveUp.output.isEmpty)
        try await LockedProgram.running(hub, ["wait", "--wait", "60", "--", "echo", "ran"]) { locked in
            try await locked.says("waiting")
            #expect(locked.process.output.isEmpty)
            #expect(try await hub.call("DELETE", "/v1/locks/wait?lock_id=\(id)").status == 204)
            #expect(try await locked.process.waitForExit() == .code(0))
            #expect(locked.process.output == "ran\n")
        }
    }

    @Test("the lock is held beyond its time, for as long as the program runs")
    func renewal() async throws {
        let hub = try SharedHub.hub
        let go = hub.folder.path + "/go-renewal"
        let script = "\(Self.reportsItsLock); \(Self.untilThere(go))"
        try await LockedProgram.running(hub, ["renewal", "--ttl", "1", "--", "sh", "-c", script]) { locked in
            _ = try await locked.lock("renewal")
            let end = ContinuousClock.now + .seconds(3)
            try await eventually("three times the lock's time") {
                let refused = try await Self.take("renewal", hub)
                #expect(refused.status == 409)
                return ContinuousClock.now > end
            }
            #expect(FileManager.default.createFile(atPath: go, contents: nil))
            #expect(try await locked.process.waitForExit() == .code(0))
        }
        #expect(try await Self.take("renewal", hub).status == 201)
    }

    @Test("a lock that was taken away ends the program, which may clean up")
    func lost() async throws {
        let hub = try SharedHub.hub
        let script = "trap 'echo cleaned; exit 0' TERM; \(Self.reportsItsLock); while :; do sleep 0.02; done"
        try await LockedProgram.running(hub, ["lost", "--ttl", "1", "--", "sh", "-c", script]) { locked in
            let (id, _) = try await locked.lock("lost")
            #expect(try await hub.call("DELETE", "/v1/locks/lost?lock_id=\(id)").status == 204)
            #expect(try await locked.process.waitForExit() == .code(5))
            #expect(locked.process.output.hasSuffix("cleaned\n"))
            #expect(locked.process.errorOutput.contains("lock is lost"), "\(locked.process.errorOutput)")
        }
    }

    @Test("a program that does not want to end is killed after its grace, with all that it started")
    func killed() async throws {
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

    @Test("the program ends when its lock's time is over and the hub is gone", arguments: [true, false])
    func hubGone(isKilled: Bool) async throws {
        try await HubProcess.running { hub in
            let script = "\(Self.reportsItsLock); echo $$; exec sleep 600"
            try await LockedProgram.running(hub, ["gone", "--ttl", "2", "--", "sh", "-c", script]) { locked in
                _ = try await locked.lock("gone")
                try await eventually("its number") { locked.numbers.count == 1 }
                if isKilled { try await hub.kill() } else { hub.pause() }
                #expect(try await locked.process.waitForExit() == .code(5))
                #expect(locked.numbers.allSatisfy { !Processes.isAlive($0) })
                let errors = locked.process.errorOutput
                #expect(errors.contains("trying again") && errors.contains("could not be renewed in its 2 s"), "\(errors)")
            }
        }
    }

    @Test("a hub that is away for less than the lock's time costs nothing")
    func hubAwhileGone() async throws {
        try await HubProcess.running { hub in
            let go = hub.folder.path + "/go"
            let script = "\(Self.reportsItsLock); \(Self.untilThere(go)); exit 3"
            try await LockedProgram.running(hub, ["away", "--ttl", "6", "--", "sh", "-c", script]) { locked in
                _ = try await locked.lock("away")
                hub.pause()
                try await locked.says("trying again")
                hub.resume()
                try await locked.says("the lock is renewed")
                #expect(FileManager.default.createFile(atPath: go, contents: nil))
                #expect(try await locked.process.waitForExit() == .code(3))
            }
        }
    }

    @Test("signals are passed on to the program", arguments: [SIGTERM, SIGINT, SIGHUP])
    func signals(_ signal: Int32) async throws {
        // What this process ignores, its children do.
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
        #expect(try await Self.take(resource, hub).status == 201, "it was released")
    }

    @Test("a signal ends the waiting")
    func signalWhileWaiting() async throws {
        let hub = try SharedHub.hub
        #expect(try await Self.take("busy", hub).status == 201)
        try await LockedProgram.running(hub, ["busy", "--wait", "600", "--", "echo", "ran"]) { locked in
            try await locked.says("waiting")
            locked.process.send(SIGTERM)
            #expect(try await locked.process.waitForExit() == .code(128 + SIGTERM))
            #expect(locked.process.output.isEmpty)
        }
    }

    @Test("what cannot be run leaves no lock behind", arguments: [("/nowhere/program", 127), ("/etc/passwd", 126)])
    func unrunnable(_ program: String, _ code: Int32) async throws {
        let hub = try SharedHub.hub
        let (exit, _, errors) = try await hub.lock(["unrunnable-\(code)", "--", program])
        #expect(exit == .code(code) && errors.contains(program), "\(errors)")
        #expect(try await Self.take("unrunnable-\(code)", hub).status == 201)
    }

    @Test(
        "wrong usage",
        arguments: [
            [], ["r"], ["r", "--"], ["r", "echo", "ran"], ["a b", "--", "echo", "ran"], ["..", "--", "echo", "ran"],
            ["r", "--ttl", "0", "--", "echo", "ran"], ["r", "--grace", "-1", "--", "echo", "ran"],
        ])
    func usage(_ arguments: [String]) async throws {
        let (exit, output, errors) = try await SharedHub.hub.lock(arguments)
        #expect(exit == .code(2) && output.isEmpty && !errors.isEmpty)
    }

    @Test("a token without the scope, and no hub at all")
    func refused() async throws {
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

/// `flowhub lock` under test.
private struct LockedProgram {
    let process: ChildProcess

    /// Gone afterwards, and its program with it.
    static func running(_ hub: HubProcess, _ arguments: [String], _ body: (LockedProgram) async throws -> Void) async throws {
        let locked = LockedProgram(
            process: try ChildProcess(
                HubBinary.path(), ["lock"] + arguments, environment: ["FLOWHUB_URL": hub.url], folder: hub.folder.path))
        do { try await body(locked) } catch {
            // It ends its program, which a killed one could not.
            locked.process.send(SIGTERM)
            _ = try? await locked.process.waitForExit(within: .seconds(15))
            await locked.process.destroy()
            throw error
        }
    }

    /// What the program has said of its lock.
    func lock(_ resource: String) async throws -> (id: String, fencingToken: Int64) {
        var words: [Substring] = []
        try await eventually("the program's words about its lock") {
            if let exit = self.process.exit { throw TimedOut("\(exit): \(self.process.errorOutput)") }
            words = self.process.output.split(separator: "\n").first { $0.hasSuffix(".") }?.split(separator: " ") ?? []
            return words.count == 3
        }
        #expect(words[0] == resource)
        return (String(words[1]), try #require(Int64(words[2].dropLast())))
    }

    /// Process ids that the program has said.
    var numbers: [Int32] { self.process.output.split(separator: "\n").compactMap { Int32($0) } }

    func says(_ text: String) async throws {
        try await eventually("\"\(text)\"") { self.process.errorOutput.contains(text) }
    }
}

extension HubProcess {
    fileprivate var url: String { "http://127.0.0.1:\(self.port)" }

    /// `flowhub lock`, to its end.
    fileprivate func lock(_ arguments: [String], _ environment: [String: String] = [:]) async throws -> (
        exit: ChildProcess.Exit, output: String, errors: String
    ) {
        try await SettingsTests.run(["lock"] + arguments, environment.merging(["FLOWHUB_URL": self.url]) { $1 })
    }
}
