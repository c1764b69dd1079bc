import FlowTestKit
import Testing

@testable import flowhub

@Suite struct ImportRemoveTests {
    private static let other = "00000000-0000-4000-8000-000000000001"

    @Test func deletesWhatItCanAndExitsNonzeroOtherwise() async throws {
        try await withFolder { folder in
            try await FakeHub.running({ _, request in
                request.target.hasSuffix(Self.other)
                    ? .answer(FakeHub.Answer(404, #"{"code":"not_found","detail":"No such import."}"#))
                    : .answer(FakeHub.Answer(204))
            }) { hub in
                let result = try await CommandRun.run(
                    ["import", "rm", Self.other, ImportFixture.id, ImportFixture.id.uppercased(), "--yes"], hub: hub, in: folder)
                #expect(result.exit == .code(1))
                #expect(result.output == "\(ImportFixture.id) deleted\n")
                #expect(result.errors.contains("import \(Self.other) was not deleted: The hub answered 404"))
                #expect(hub.requests.map(\.method) == ["DELETE", "DELETE"])
            }
        }
    }

    @Test func doesNotDeleteWithoutYesOption() async throws {
        try await withFolder { folder in
            try await FakeHub.running({ _, _ in .answer(FakeHub.Answer(204)) }) { hub in
                let result = try await CommandRun.run(["import", "rm", ImportFixture.id], hub: hub, in: folder)
                #expect(result.exit == .code(2))
                #expect(result.errors.contains("Use --yes"))
                #expect(hub.requests.isEmpty)
            }
        }
    }
}
