import Synchronization

/// Tries out what the hub stores things in, when somebody asks, and remembers the answer for some seconds.
public final class StorageHealth: Sendable {
    public enum Status: String, Hashable, Sendable {
        case healthy, degraded, unhealthy
    }

    /// What was found of one of the three.
    public struct Component: Hashable, Sendable {
        public var status: Status
        /// What does the work: `r2`, `redis`, `postgres`, or what stands in for it.
        public var provider: String
        /// What is wrong, without a secret.
        public var reason: String?
    }

    public struct Report: Hashable, Sendable {
        public var at: Timestamp
        public var objects: Component
        public var bus: Component
        public var database: Component

        public var overall: Status {
            if self.database.status == .unhealthy { return .unhealthy }
            return [self.objects, self.bus, self.database].allSatisfy { $0.status == .healthy } ? .healthy : .degraded
        }
    }

    /// The names of what is configured.
    public struct Providers: Hashable, Sendable {
        public var bus: String
        public var database: String

        public init(bus: String, database: String) {
            self.bus = bus
            self.database = database
        }
    }

    private static let text = Array("flowhub".utf8)

    private let objects: (any ObjectStore)?
    private let manager: StateManager
    private let messages: any EventBus
    private let providers: Providers
    private let instance: String
    /// Seconds that an answer is good for.
    private let seconds: Int64
    private let now: @Sendable () -> Timestamp
    private let last = Mutex<Report?>(nil)
    private let probes = SingleFlight<Int, Report, Never>()

    public init(
        objects: (any ObjectStore)?, manager: StateManager, bus: any EventBus, providers: Providers, instance: String,
        seconds: Int64, now: @escaping @Sendable () -> Timestamp
    ) {
        self.objects = objects
        self.manager = manager
        self.messages = bus
        self.providers = providers
        self.instance = instance
        self.seconds = seconds
        self.now = now
    }

    /// What is known now; tried out anew if that is older than some seconds. However many ask, one probe is under way.
    public func report() async -> Report {
        let now = self.now()
        if let last = self.last.withLock({ $0 }), now < last.at.advanced(bySeconds: self.seconds), now >= last.at { return last }
        return await self.probes.value(for: 0) {
            async let objects = self.probeObjects()
            async let database = self.probeDatabase()
            let report = Report(at: self.now(), objects: await objects, bus: self.bus, database: await database)
            self.last.withLock { $0 = report }
            return report
        }
    }

    private var bus: Component {
        let isDelivering = self.messages.isDelivering
        return Component(
            status: isDelivering ? .healthy : .degraded, provider: self.providers.bus,
            reason: isDelivering ? nil : "no canary comes back; events are delivered through the database")
    }

    private func probeDatabase() async -> Component {
        var component = Component(status: .healthy, provider: self.providers.database)
        do throws(StoreError) {
            _ = try await self.manager.heads(of: [])
            try await self.manager.store.probeWrite()
        } catch {
            component.status = .unhealthy
            component.reason = "\(error)"
        }
        return component
    }

    /// Writes an object, reads it, compares, and removes it, all under the same key.
    private func probeObjects() async -> Component {
        guard let objects = self.objects else {
            return Component(status: .healthy, provider: self.providers.database, reason: nil)
        }
        var component = Component(status: .healthy, provider: objects.provider)
        let key = "health-check/\(self.instance)/\(RandomText.base36(12))"
        do throws(ObjectError) {
            let upload = try await objects.upload(key, ObjectAttributes(contentType: "text/plain"))
            try await upload.write(Self.text)
            _ = try await upload.finish()
            let download = try await objects.download(key, range: nil)
            var read: [UInt8] = []
            while let part = try await download.next() { read += part }
            if read != Self.text { throw .corrupted("what was read is not what was written") }
        } catch {
            component.status = .unhealthy
            component.reason = error.explanation
        }
        do throws(ObjectError) {
            try await objects.delete(key)
        } catch {
            if component.status == .healthy { component.status = .degraded }
            component.reason = component.reason ?? error.explanation
        }
        return component
    }
}

extension ObjectError {
    /// For people.
    public var explanation: String {
        switch self {
        case .notFound: "what was written is not there"
        case .exists: "another object is there"
        case .unavailable(let reason), .refused(let reason), .corrupted(let reason), .invalid(let reason): reason
        }
    }
}
