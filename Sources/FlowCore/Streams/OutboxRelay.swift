public import Logging

/// Publishes what its writer did not get to publish, and clears the outbox of what was.
public struct OutboxRelay: Sendable {
    /// Flows that one round takes over.
    private static let slice = 500
    /// Between two rounds: an event whose writer died is published this much later than a second at most.
    private static let interval = Duration.milliseconds(200)

    private let outbox: any Outbox
    private let manager: StateManager
    private let bus: any EventBus
    private let logger: Logger

    public init(outbox: any Outbox, manager: StateManager, bus: any EventBus, logger: Logger) {
        self.outbox = outbox
        self.manager = manager
        self.bus = bus
        self.logger = logger
    }

    public func run() async {
        var isFailing = false
        while !Task.isCancelled {
            do { try await Task.sleep(for: Self.interval) } catch { break }
            do throws(StoreError) {
                try await self.round()
                isFailing = false
            } catch {
                if !isFailing { self.logger.warning("The outbox cannot be worked on", metadata: ["reason": "\(error)"]) }
                isFailing = true
            }
        }
        // What is left is somebody else's, a second from now.
        try? await self.outbox.flush()
    }

    private func round() async throws(StoreError) {
        try await self.outbox.flush()
        guard self.bus.isDelivering else {
            try await self.outbox.collapse()
            return
        }
        let overdue = try await self.outbox.overdue(limit: Self.slice)
        if !overdue.isEmpty { self.manager.publish(overdue) }
    }
}
