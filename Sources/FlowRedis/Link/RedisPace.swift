import Synchronization

/// How often an instance sends its periodic commands to Redis: at their own intervals while it watches a flow, and with
/// `FLOWHUB_REDIS_THRIFTY` at a longer one while it watches none. Safe to use from any thread.
final class RedisPace: Sendable {
    struct Configuration: Sendable {
        /// `FLOWHUB_REDIS_THRIFTY`: whether the instance ever is idle.
        var isThrifty = false
        /// `FLOWHUB_REDIS_IDLE_SECONDS`, in milliseconds.
        var idleMilliseconds: Int64 = 120_000
    }

    private let configuration: Configuration
    private let idle = Atomic<Bool>(false)
    private let observer = Mutex<(@Sendable () -> Void)?>(nil)

    init(_ configuration: Configuration) { self.configuration = configuration }

    /// Whether the instance watches no flow and saves commands. Always `false` without `FLOWHUB_REDIS_THRIFTY`.
    var isIdle: Bool { self.idle.load(ordering: .relaxed) }

    /// Sets the callback that is called after each change of ``isIdle``, on the thread that made it.
    func onChange(_ body: @escaping @Sendable () -> Void) { self.observer.withLock { $0 = body } }

    /// Sets ``isIdle``; without effect unless the instance is thrifty.
    /// - Returns: whether it has changed.
    func set(isIdle: Bool) -> Bool {
        guard self.configuration.isThrifty, self.idle.exchange(isIdle, ordering: .relaxed) != isIdle else { return false }
        self.observer.withLock { $0 }?()
        return true
    }

    /// The interval to use now, in milliseconds.
    /// - Parameter active: the interval while the instance watches a flow.
    func interval(_ active: Int64) -> Int64 { self.isIdle ? max(active, self.configuration.idleMilliseconds) : active }
}
