import FlowCore
import FlowTestKit
import Foundation
import Testing

/// A disk on which small changes still fit and larger ones do not. The limit of file sizes (`ulimit -f`) stands for the disk's
/// size: unlike a small file system it needs no privileges, and the test sets how much is left.
struct FullDiskTests {
    private static let large = JSONText.array { $0.value(String(repeating: "x", count: 200_000)) }

    @Test func readinessTellsWhetherChangesOfThatSizeSucceed() async throws {
        try await HubProcess.running { hub in
            for _ in 0..<4 { #expect(try await hub.api.publish("large", Self.large, to: "f").status == 201) }
            let log = hub.dataFolder + "/flowhub.sqlite-wal"
            let size = try #require(FileManager.default.attributesOfItem(atPath: log)[.size] as? Int)
            try hub.setLimit(of: "fsize", to: "\(size + 150_000)")

            for _ in 0..<20 {
                let written = try await hub.api.publish("large", Self.large, to: "f")
                #expect(written.status == 503, "\(written.reply.text)")
            }
            #expect(try await hub.api.publish("small", .null, to: "f").status == 201, "a small change fits")
            // Only probes of that size fail from now on. Readiness does not return in between.
            let before = try #require(try await hub.api.metric("flowhub_store_errors_total"))
            try await eventually("three probes") {
                #expect(try await hub.api.isReady() == false)
                return try await hub.api.metric("flowhub_store_errors_total") ?? 0 >= before + 3
            }
            let lines = hub.log.split(separator: "\n").filter { $0.contains("Failed to commit changes") }
            #expect(lines.count <= 2 && lines.first?.contains(" changes=1 ") == true, "one line per 10 s: \(lines)")

            try hub.setLimit(of: "fsize", to: "unlimited")
            try await eventually("readiness") { try await hub.api.isReady() }
            #expect(hub.log.contains("Store accepts writes again"))
            #expect(try await hub.api.publish("large", Self.large, to: "f").version == 6)
            // Nothing acknowledged is lost, and nothing of the failed changes or of the probes is left.
            try await hub.kill()
            try await hub.start()
            let history = try #require(try await hub.api.history(of: "f"))
            #expect(history.version == 6 && history.events.count == 6)
            let flows = try await hub.api.call("GET", "/v1/flows").json.member("flows")
            #expect(flows?.elements.count == 1)
        }
    }
}
