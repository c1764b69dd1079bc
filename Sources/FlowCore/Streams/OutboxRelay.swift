public import Logging

/// Publishes what its writer did not get to publish, and clears the outbox of what was.
public struct OutboxRelay: Sendable {
    /// Flows that one round takes over.
    private static let slice = 500
    /// Between two rounds: an event whose writer died is published this much later than a second at most.
    private static let interval = Duration.milliseconds(200)

    /// Between two rounds of dropping what a newer row of its flow makes needless.
    private static let collapseInterval = Duration.seconds(10)

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
        var lastCollapse = ContinuousClock.now - Self.collapseInterval
        while !Task.isCancelled {
            do { try await Task.sleep(for: Self.interval) } catch { break }
            do throws(StoreError) {
                try await self.round(&lastCollapse)
                isFailing = false
            } catch {
                if !isFailing { self.logger.warning("The outbox cannot be worked on", metadata: ["reason": "\(error)"]) }
                isFailing = true
            }
        }
        // What is left is somebody else's, a second from now.
        try? await self.outbox.flush()
    }

    private func round(_ lastCollapse: inout ContinuousClock.Instant) async throws(StoreError) {
        try await self.outbox.flush()
        guard self.bus.isDelivering else {
            // Looks at all of it, on every instance: seldom.
            if ContinuousClock.now - lastCollapse >= Self.collapseInterval {
                lastCollapse = .now
                try await self.outbox.collapse()
            }
            return
        }
        let overdue = try await self.outbox.overdue(limit: Self.slice)
        if !overdue.isEmpty { self.manager.publish(overdue) }
    }
}
