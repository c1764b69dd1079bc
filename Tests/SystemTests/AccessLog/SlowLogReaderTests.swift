import FlowCore
import FlowTestKit
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// A program that reads the hub's log slowly, or not at all, delays no client.
struct SlowLogReaderTests {
    /// The end of a named pipe that a test reads.
    private struct LogPipe {
        let path: String
        let descriptor: Int32

        init(in folder: TemporaryFolder) throws {
            self.path = folder.path + "/log"
            try #require(mkfifo(self.path, 0o600) == 0)
            self.descriptor = open(self.path, O_RDONLY | O_NONBLOCK)
            try #require(self.descriptor >= 0)
            // F_SETPIPE_SZ: the smallest pipe, so that few lines fill it.
            try #require(fcntl(self.descriptor, 1031, 4096) == 4096)
        }

        /// What can be read without waiting.
        func read() -> String {
            var text: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while true {
                let count = Glibc.read(self.descriptor, &buffer, buffer.count)
                guard count > 0 else { return String(decoding: text, as: UTF8.self) }
                text += buffer[..<count]
            }
        }
    }

    /// The program that started the hub has made the pipe non-blocking: a write of many lines takes a part of them, or none.
    @Test func partialWritesToNonBlockingPipeKeepEveryLine() async throws {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let pipe = try LogPipe(in: folder)
        defer { close(pipe.descriptor) }
        let port = try FreePort.choose()
        let environment = [
            "FLOWHUB_ACCESS_LOG": "all", "PORT": "\(port)", "FLOWHUB_DATA": folder.path + "/data", "FLOWHUB_DRAIN_SECONDS": "0",
        ]
        let program = """
            import fcntl, os, sys
            pipe = os.open(sys.argv[1], os.O_WRONLY)
            fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_NONBLOCK)
            os.dup2(pipe, 2)
            os.execv(sys.argv[2], [sys.argv[2], "serve"])
            """
        let hub = try ChildProcess(
            TestTools.program("python"), ["-c", program, pipe.path, HubBinary.path()], environment: environment,
            folder: folder.path)
        do {
            var text = ""
            try await eventually("the hub to listen") {
                text += pipe.read()
                return text.contains(" Listening ")
            }
            // Far more than the pipe holds.
            let api = HubAPI(port: port)
            for number in 1...200 { #expect(try await api.put("f", try jsonText("{\"n\":\(number)}")).isAcknowledged) }
            try await eventually("the last line") {
                text += pipe.read()
                return text.contains(" version=200")
            }
            hub.send(SIGTERM)
            try await eventually("the end of the hub") {
                text += pipe.read()
                return hub.exit == .code(0)
            }
            let lines = (text + pipe.read()).split(separator: "\n")
            #expect(lines.allSatisfy { $0.hasPrefix("20") && $0.contains(" instance=") }, "every line is complete")
            let versions = lines.map { AccessLogLine($0) }.filter { $0.message == "Request" }.compactMap { $0["version"] }
            #expect(versions == (1...200).map { "\($0)" })
        } catch {
            await hub.destroy()
            throw error
        }
    }

    @Test func unreadLogDelaysNoRequestAndReportsWhatIsMissing() async throws {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let pipe = try LogPipe(in: folder)
        defer { close(pipe.descriptor) }
        let port = try FreePort.choose()
        let environment = [
            // With debug lines, event loops log in other places too.
            "FLOWHUB_ACCESS_LOG": "all", "FLOWHUB_LOG_LEVEL": "debug", "FLOWHUB_MAX_LOG_LINES": "100", "PORT": "\(port)",
            "FLOWHUB_DATA": folder.path + "/data", "FLOWHUB_DRAIN_SECONDS": "0",
        ]
        let command = ["-c", "exec \"$0\" serve 2>\"$1\"", try HubBinary.path(), pipe.path]
        let hub = try ChildProcess("/bin/sh", command, environment: environment, folder: folder.path)
        do {
            var text = ""
            try await eventually("the hub to listen") {
                text += pipe.read()
                return text.contains(" Listening ")
            }
            // From now on nothing is read.
            let api = HubAPI(port: port)
            for number in 1...300 { #expect(try await api.put("f", try jsonText("{\"n\":\(number)}")).isAcknowledged) }
            for _ in 1...20 {
                let stream = EventStreamClient(.flow("f"), port: port)
                try await stream.connect(within: .seconds(5))
                _ = try await stream.next(event: "caught_up", within: .seconds(5))
                stream.disconnect()
            }
            let dropped = try #require(try await api.metric("flowhub_dropped_log_lines_total"))
            #expect(dropped > 100)
            // The reader is back: the lines that waited arrive, and then how many are missing.
            try await eventually("the line about dropped lines") {
                text += pipe.read()
                return text.contains(" warning Log lines were dropped: standard error is read too slowly ")
            }
            #expect(try await api.put("f", try jsonText("{\"n\":0}")).isAcknowledged)
            try await eventually("a line of afterwards") {
                text += pipe.read()
                return text.contains(" version=301")
            }
            hub.send(SIGTERM)
            try await eventually("the end of the hub") {
                text += pipe.read()
                return hub.exit == .code(0)
            }
            text += pipe.read()
            #expect(text.contains(" notice Hub stopped "))
            let lines = text.split(separator: "\n")
            let missing = lines.filter { $0.contains("Log lines were dropped") }.compactMap { AccessLogLine($0)["lines"] }
            #expect(missing.compactMap { Double($0) }.reduce(0, +) >= dropped)
            #expect(lines.allSatisfy { $0.hasPrefix("20") && $0.contains(" instance=") }, "every line is complete")
        } catch {
            await hub.destroy()
            throw error
        }
    }
}
