import FlowHTTP
import FlowPostgres
import Testing

@testable import flowhub

@Suite struct ConnectionCapacityTests {
    private static func configuration(loops: Int = 2) -> HubConfiguration {
        var configuration = HubConfiguration()
        configuration.http.eventLoops = loops
        return configuration
    }

    @Test(arguments: [128, 256, 1_024, 4_096, 20_000, 131_072, 1_048_576], [nil, 1, 500, 10_000, 2_000_000])
    func connectionsAndOwnFilesFitIntoLimit(files: Int, streams: Int?) {
        let capacity = ConnectionCapacity(files: files, streams: streams, Self.configuration())
        #expect(capacity.streams >= 1 && capacity.ordinaryPerLoop >= 4)
        // On the embedded store an ordinary connection may need a file of its own, for a download.
        #expect(capacity.streams + 2 * 2 * capacity.ordinaryPerLoop + 64 <= max(files, 128))
        if let streams { #expect(capacity.streams <= streams) }
    }

    @Test func reportsLimitsThatCannotBeKept() {
        #expect(ConnectionCapacity(files: 1_048_576, streams: nil, Self.configuration()).isCapped == false)
        #expect(ConnectionCapacity(files: 131_072, streams: 100_000, Self.configuration()).isCapped == false)
        #expect(ConnectionCapacity(files: 131_072, streams: 131_072, Self.configuration()).isCapped)
        #expect(ConnectionCapacity(files: 1_024, streams: nil, Self.configuration()).isCapped)
    }

    @Test func countsConnectionsOfPostgres() {
        var configuration = Self.configuration()
        let embedded = ConnectionCapacity(files: 1_024, streams: 10_000, configuration)
        configuration.postgres = PostgresSettings(url: "postgres:///hub")
        configuration.postgres?.readConnections = 64
        let postgres = ConnectionCapacity(files: 1_024, streams: 10_000, configuration)
        #expect(postgres.streams < embedded.streams)
    }
}
