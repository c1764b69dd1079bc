import NIOCore
import NIOHTTP1
import Synchronization

/// State of an ``R2Proxy``: fault rules, recorded requests, and the data that R2's rules need.
final class R2ProxyState: Sendable {
    struct Contents: Sendable {
        var rules: [R2Rule] = []
        var limitsWrites = false
        var requests: [ProxyRequest] = []
        /// Incremented when the recorded requests are cleared. Updates of requests in flight at that time are ignored.
        var generation = 0
        var lastWrites: [String: ContinuousClock.Instant] = [:]
        /// Sizes of uploaded parts in bytes, by upload id and part number.
        var parts: [String: [Int: Int]] = [:]
        var lifecycles: [String: [UInt8]] = [:]

        mutating func forget() {
            self.requests = []
            self.generation += 1
        }
    }

    let serverPort: Int
    private let contents = AsyncValue(Contents())
    private let stalled = Mutex<[Int: AsyncStream<Never>.Continuation]>([:])
    private let stalls = Atomic<Int>(0)
    private let writers = KeyedMutex()

    init(serverPort: Int) { self.serverPort = serverPort }

    func read<Result: Sendable>(_ body: (borrowing Contents) -> Result) -> Result { self.contents.read(body) }
    func change(_ body: (inout Contents) -> Void) { self.contents.change(body) }

    func wait(for what: String, within timeout: Duration, _ condition: @escaping @Sendable (Contents) -> Bool) async throws {
        try await self.contents.wait(for: what, within: timeout) { condition($0) ? () : nil }
    }

    // MARK: Requests

    /// Records a new request.
    /// - Returns: the request and its generation.
    func arrived(_ head: HTTPRequestHead) -> (request: ProxyRequest, generation: Int) {
        self.contents.change { contents in
            let request = ProxyRequest(number: contents.requests.count + 1, head: head) { operation, key in
                for index in contents.rules.indices where contents.rules[index].hits(operation, key) {
                    return contents.rules[index].fault
                }
                return nil
            }
            contents.requests.append(request)
            return (request, contents.generation)
        }
    }

    func update(_ request: ProxyRequest, generation: Int) {
        self.contents.change { contents in
            guard contents.generation == generation else { return }
            contents.requests[request.number - 1] = request
        }
    }

    // MARK: Stalling

    /// Suspends until ``release()`` is called, the channel is closed, or the task is cancelled.
    /// - Parameter begun: called as soon as ``release()`` has an effect. A test that sees the stall may release it at once.
    func stall(_ channel: any Channel, begun: () -> Void) async {
        let number = self.stalls.add(1, ordering: .relaxed).newValue
        let (stream, continuation) = AsyncStream<Never>.makeStream()
        self.stalled.withLock { $0[number] = continuation }
        begun()
        channel.closeFuture.whenComplete { _ in continuation.finish() }
        for await _ in stream {}
        _ = self.stalled.withLock { $0.removeValue(forKey: number) }
    }

    func release() {
        for continuation in self.stalled.withLock({ $0.values.map { $0 } }) { continuation.finish() }
    }

    // MARK: R2's rules

    /// Records a write to a key.
    /// - Returns: whether it must be rejected, since the last write to the key was less than 1 s ago.
    func isTooSoon(_ path: String) -> Bool {
        self.contents.change { contents in
            guard contents.limitsWrites else { return false }
            let now = ContinuousClock.now
            if let last = contents.lastWrites[path], now - last < .seconds(1) { return true }
            contents.lastWrites[path] = now
            return false
        }
    }

    /// Whether all parts except the last have the same size and the last is not larger. Parts that were not uploaded through
    /// this proxy are ignored.
    func areEqual(_ parts: [Int], of upload: String) -> Bool {
        let sizes = self.contents.read { contents in parts.sorted().compactMap { contents.parts[upload]?[$0] } }
        guard let first = sizes.first, let last = sizes.last else { return true }
        return sizes.dropLast().allSatisfy { $0 == first } && last <= first
    }

    /// Runs conditional writes to a key one at a time, since the server's comparison and write are not atomic.
    func inTurn<Result>(_ key: String?, _ body: () async throws -> Result) async throws -> Result {
        guard let key else { return try await body() }
        await self.writers.lock(key)
        do {
            let result = try await body()
            self.writers.unlock(key)
            return result
        } catch {
            self.writers.unlock(key)
            throw error
        }
    }
}

/// One mutex per key. Waiting tasks acquire it in the order of their calls.
final class KeyedMutex: Sendable {
    private let waiting = Mutex<[String: [CheckedContinuation<Void, Never>]]>([:])

    func lock(_ key: String) async {
        await withCheckedContinuation { continuation in
            let isFree = self.waiting.withLock { waiting in
                if waiting[key] == nil {
                    waiting[key] = []
                    return true
                }
                waiting[key]?.append(continuation)
                return false
            }
            if isFree { continuation.resume() }
        }
    }

    func unlock(_ key: String) {
        let next: CheckedContinuation<Void, Never>? = self.waiting.withLock { waiting in
            if waiting[key]?.isEmpty != false {
                waiting[key] = nil
                return nil
            }
            return waiting[key]?.removeFirst()
        }
        next?.resume()
    }
}
