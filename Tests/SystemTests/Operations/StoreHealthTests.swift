import FlowCore
import FlowTestKit
import Foundation
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// A store that can be read but not written is reported as unavailable.
struct StoreHealthTests {
    @Test func reportsStoreUnavailableWhileWritesFail() async throws {
        try await HubProcess.running { hub in
            let stream = EventStreamClient(.flow("quiet"), port: hub.port)
            try await stream.connect()
            _ = try await stream.next(event: "snapshot")
            #expect(try await hub.api.publish("first", .null, to: "f").status == 201)

            let lock = try WriterLock(hub)
            #expect(try await hub.api.publish("second", .null, to: "f").status == 503)
            #expect(try await hub.api.state(of: "f")?.version == 1, "reads must still work")
            for _ in 0..<30 {
                let ready = try await hub.api.call("GET", "/health/ready")
                #expect(ready.status == 503)
                #expect(ready.json.member("delivery")?.stringValue == "store_away")
                try await Task.sleep(for: .milliseconds(50))
            }
            _ = try await stream.next("a heartbeat with store_away") { Self.delivery($0) == "store_away" }
            #expect(try await hub.api.metric("flowhub_delivery_status{status=\"store_away\"}") == 1)
            #expect(try await hub.api.metric("flowhub_store_errors_total") ?? 0 >= 1)

            lock.release()
            try await eventually("readiness", within: .seconds(15)) { try await hub.api.isReady() }
            _ = try await stream.next("a heartbeat with ok") { Self.delivery($0) == "ok" }
            let reported = stream.log.events("heartbeat").compactMap(Self.delivery)
            let back = reported.drop { $0 == "ok" }.drop { $0 == "store_away" }
            #expect(!back.isEmpty && back.allSatisfy { $0 == "ok" }, "expected store_away, then ok: \(reported)")
            #expect(try await hub.api.publish("third", .null, to: "f").version == 2)
        }
    }

    private static func delivery(_ block: EventBlock) -> String? { block.json.member("delivery")?.stringValue }

    /// SQLite's write lock, locked as by a transaction of another process: byte 120 of the index of the write-ahead log
    /// (https://sqlite.org/walformat.html, section 2.3.1).
    private final class WriterLock {
        private let descriptor: Int32

        init(_ hub: HubProcess) throws {
            self.descriptor = open(hub.dataFolder + "/flowhub.sqlite-shm", O_RDWR | O_CLOEXEC)
            var lock = flock(l_type: Int16(F_WRLCK), l_whence: Int16(SEEK_SET), l_start: 120, l_len: 1, l_pid: 0)
            try #require(fcntl(self.descriptor, F_SETLK, &lock) == 0, "errno \(errno)")
        }

        /// Closing a file releases the process's locks on it.
        func release() { close(self.descriptor) }
    }
}
