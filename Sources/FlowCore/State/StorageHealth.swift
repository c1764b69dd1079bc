import Synchronization

/// The probes behind `/health/storage`: tests the object store, the bus and the database on request, and caches the report.
/// Safe to use from any task.
public final class StorageHealth: Sendable {
    /// The status of one component (object store, bus or database) or of all three together. Raw values are on the wire.
    public enum Status: String, Hashable, Sendable {
        /// The component works; overall: all three do.
        case healthy
        /// The bus does not deliver, or a probe object could not be deleted; overall: the database is healthy, and another
        /// component is not.
        case degraded
        /// The probe of the component failed; overall: that of the database.
        case unhealthy
    }

    /// The result for one component: the object store, the bus or the database.
    public struct Component: Hashable, Sendable {
        public var status: Status
        /// The implementation in use, such as `r2`, `redis` or `postgres`.
        public var provider: String
        /// The reason for a status other than healthy, for operators; `nil` if the component is healthy. Contains no
        /// secrets.
        public var reason: String?
        /// For the object store: percentage of new imports that are stored in it. `nil` for other components.
        public var share: Int?
    }

    /// The results of one probe.
    public struct Report: Hashable, Sendable {
        /// The time at which the probe started.
        public var at: Timestamp
        public var objects: Component
        public var bus: Component
        public var database: Component

        public var overall: Status {
            if self.database.status == .unhealthy { return .unhealthy }
            return [self.objects, self.bus, self.database].allSatisfy { $0.status == .healthy } ? .healthy : .degraded
        }
    }

    /// The names of the configured bus and database.
    public struct Providers: Hashable, Sendable {
        public var bus: String
        public var database: String

        public init(bus: String, database: String) {
            self.bus = bus
            self.database = database
        }
    }

    /// The bytes of a probe object.
    private static let text = Array("flowhub".utf8)

    private let objects: (any ObjectStore)?
    private let share: Int
    private let manager: StateManager
    private let messages: any EventBus
    private let providers: Providers
    private let instance: String
    /// The time for which a report is reused, in seconds.
    private let seconds: Int64
    private let now: @Sendable () -> Timestamp
    /// The cached report.
    private let last = Mutex<Report?>(nil)
    private let probes = SingleFlight<Int, Report, Never>()

    /// - Parameters:
    ///   - objects: the object store; `nil` if imports are stored in the database, which is then reported in its place.
    ///   - share: percentage of new imports that are stored in the object store. If it is 0, the probe writes nothing.
    ///   - instance: the instance's name, part of the keys of probe objects.
    ///   - seconds: the time for which a report is reused.
    public init(
        objects: (any ObjectStore)?, share: Int, manager: StateManager, bus: any EventBus, providers: Providers, instance: String,
        seconds: Int64, now: @escaping @Sendable () -> Timestamp
    ) {
        self.objects = objects
        self.share = share
        self.manager = manager
        self.messages = bus
        self.providers = providers
        self.instance = instance
        self.seconds = seconds
        self.now = now
    }

    /// The cached report if it is less than `seconds` old, else a new one. A cached report with a time in the future,
    /// because the clock was set back, is not used. Concurrent calls share one probe.
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
            reason: isDelivering
                ? nil : "the bus returned no canary (test message) in time; the version sweep delivers events, every second")
    }

    /// Reads from the database and commits a write probe, which changes no flow. A failure of either is `unhealthy`.
    private func probeDatabase() async -> Component {
        var component = Component(status: .healthy, provider: self.providers.database)
        do throws(StoreError) {
            _ = try await self.manager.heads(of: [])
            try await self.manager.probeWrite()
        } catch {
            component.status = .unhealthy
            component.reason = "the database probe failed: \(error)"
        }
        return component
    }

    /// Writes an object under a random key, reads it back, compares, and deletes it. A failed deletion is `degraded`, any other
    /// failure `unhealthy`. Only lists objects if no new imports are stored as objects: the hub may have lost the right to write.
    private func probeObjects() async -> Component {
        guard let objects = self.objects else {
            return Component(status: .healthy, provider: self.providers.database, reason: nil)
        }
        var component = Component(status: .healthy, provider: objects.provider, share: self.share)
        guard self.share > 0 else {
            do throws(ObjectError) {
                _ = try await objects.list(prefix: "imports/", after: nil, limit: 1)
            } catch {
                component.status = .unhealthy
                component.reason = error.description
            }
            return component
        }
        let key = "health-check/\(self.instance)/\(RandomText.base36(12))"
        do throws(ObjectError) {
            let upload = try await objects.upload(key, ObjectAttributes(contentType: "text/plain"))
            try await upload.write(Self.text)
            _ = try await upload.finish()
            let download = try await objects.download(key, range: nil)
            var read: [UInt8] = []
            while let bytes = try await download.next() { read += bytes }
            if read != Self.text { throw .corrupted("the object read differs from the object written") }
        } catch {
            component.status = .unhealthy
            component.reason = error.description
        }
        do throws(ObjectError) {
            try await objects.delete(key)
        } catch {
            if component.status == .healthy { component.status = .degraded }
            component.reason = component.reason ?? error.description
        }
        return component
    }
}

extension ObjectError: CustomStringConvertible {
    /// A description for operators.
    public var description: String {
        switch self {
        case .notFound: "the object was not found"
        case .exists: "another object exists under this key"
        case .unavailable(let reason), .rejected(let reason), .corrupted(let reason), .invalid(let reason): reason
        }
    }
}
