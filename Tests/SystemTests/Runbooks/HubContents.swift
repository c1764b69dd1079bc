import FlowCore
import FlowTestKit
import Testing

/// What a hub serves, as clients see it: to compare a hub before and after a runbook.
struct HubContents: Equatable, Sendable {
    /// Version, status, state and history of each flow.
    var flows: [String: [String]] = [:]
    /// The description and the records of each import, but for where they are stored.
    var imports: [String: [String]] = [:]
    /// ETag of each flow's state. It names the epoch, so it is not compared.
    var tags: [String: String] = [:]

    static func == (left: HubContents, right: HubContents) -> Bool { left.flows == right.flows && left.imports == right.imports }

    /// An upload that a hub filled by ``fill(_:)`` has stored under an idempotency key.
    static let keyed = TestUpload(
        #"[{"n":1.00,"n":2},"\u0000",{"b":1,"a":"é"},[]]"#, "flow_id=job&file_name=odd.json",
        [("Idempotency-Key", "\"upload-1\"")])

    /// Stores flows and imports: odd texts, a long history, a deleted flow, a CSV, many records, none, and a failed upload.
    static func fill(_ hub: HubProcess) async throws {
        _ = try await hub.api.put("job", try jsonText(#"{"status":"running","text":"\u0000 \"quoted\" 1e2","n":1.50}"#))
        for number in 0..<30 { _ = try await hub.api.publish("tick", try jsonText("\(number)"), to: "job") }
        _ = try await hub.api.with(header: "Fencing-Token", "r=7").patch("job", try jsonText(#"{"n":2}"#))
        _ = try await hub.api.put("gone", try jsonText(#"{"n":1}"#))
        _ = try await hub.api.delete("gone")
        _ = try await hub.store(Self.keyed)
        _ = try await hub.store(TestUpload("a,b\n1,x\n2,\"y, z\"\n", "file_name=t.csv", [("Content-Type", "text/csv")]))
        _ = try await hub.store(TestUpload("[" + ImportOracle.records(3_000).joined(separator: ",") + "]"))
        _ = try await hub.store(TestUpload("[]"))
        #expect(try await hub.send(TestUpload("[1,", "flow_id=job&file_name=broken.json")).status == 400)
    }

    static func read(_ hub: HubProcess) async throws -> HubContents {
        var contents = HubContents()
        for flow in ["job", "gone"] {
            let state = try await hub.api.state(of: flow)
            let history = try await hub.api.history(of: flow)
            contents.tags[flow] = state?.tag
            contents.flows[flow] =
                ["\(state?.version ?? -1)", state?.status ?? "", state?.state.string ?? ""]
                + (history?.events ?? []).map(\.string)
        }
        let list = try await hub.api.call("GET", "/v1/imports?limit=1000").json.member("imports")?.elements ?? []
        for entry in list {
            guard let id = entry.member("id")?.stringValue else { continue }
            let metadata = entry.member("storage_metadata")
            var parts = ["id", "status", "flow_id", "file_name", "source_type", "created_at", "total_records", "field_summary"]
                .map {
                    entry.member($0)?.string ?? "-"
                }
            parts.append(entry.member("failure")?.string ?? "-")
            parts += ["content_hash", "original_size_bytes", "record_count"].map { metadata?.member($0)?.string ?? "-" }
            if entry.member("status")?.stringValue == "stored" {
                for part in ["/data", "/records?offset=1&limit=3", "/sample"] {
                    let reply = try await hub.get(id, part)
                    #expect(reply.status == 200, "\(id)\(part): \(reply.text)")
                    parts.append(reply.text)
                }
            }
            contents.imports[id] = parts
        }
        return contents
    }

    /// Sends the keyed upload again, and expects that the hub answers with the import of the first time.
    func expectReplay(_ hub: HubProcess) async throws {
        let reply = try await hub.send(Self.keyed)
        let id = try #require(reply.json.member("id")?.stringValue, "\(reply.status) \(reply.text)")
        #expect(self.imports[id] != nil, "the upload was stored again")
    }
}
