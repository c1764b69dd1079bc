import FlowCore
import FlowTestKit
import Testing

/// The legacy service of the tests does what its guide says.
@Suite(.serialized, .postgres(), .redis()) struct LegacyServiceTests {
    @Test func cachesPublishesAndStores() async throws {
        let redis = try SharedRedis.server
        try await SharedRedis.flush()
        let server = try SharedPostgres.server
        let database = server.url(try await server.createDatabase())
        try await LegacyService.running(["REDIS_URL": redis.url, "DATABASE_URL": database]) { service in
            try await service.call("state_manager.update_state", #"{"flow_id":"a","updates":{"n":1}}"#)
            #expect(try await service.call("state_manager.get_state", #"{"flow_id":"a"}"#).description == #"{"n":1}"#)
            #expect(try await redis.command(["GET", "flow:state:a"]).contains(#"{"n": 1}"#))
            try await service.call("models.create_tables")
            await #expect(throws: LegacyService.Failure.self) { try await service.call("models.no_such_function") }
        }
    }
}
