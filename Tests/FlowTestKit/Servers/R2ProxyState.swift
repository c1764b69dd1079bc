import NIOCore
import NIOHTTP1
import Synchronization

/// What an ``R2Proxy`` knows: the script, the requests, and what R2's rules count.
final class R2ProxyState: Sendable {
    struct Contents: Sendable {
        var rules: [R2Rule] = []
        var limitsWrites = false
        var requests: [ProxyRequest] = []
        /// Raised when requests are forgotten: what is under way then belongs to none.
        var generation = 0
        var lastWrites: [String: ContinuousClock.Instant] = [:]
        /// Bytes of each upload's parts.
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

    /// - Returns: the request, and the round that it belongs to.
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

    /// Returns when it is released, the channel is closed, or the task is cancelled.
    func stall(_ channel: any Channel) async {
        let number = self.stalls.add(1, ordering: .relaxed).newValue
        let (stream, continuation) = AsyncStream<Never>.makeStream()
        self.stalled.withLock { $0[number] = continuation }
        channel.closeFuture.whenComplete { _ in continuation.finish() }
        for await _ in stream {}
        _ = self.stalled.withLock { $0.removeValue(forKey: number) }
    }

    func release() {
        for continuation in self.stalled.withLock({ $0.values.map { $0 } }) { continuation.finish() }
    }

    // MARK: R2's rules

    /// Counts a write to a key. - Returns: whether it comes too soon.
    func isTooSoon(_ path: String) -> Bool {
        self.contents.change { contents in
            guard contents.limitsWrites else { return false }
            let now = ContinuousClock.now
            if let last = contents.lastWrites[path], now - last < .seconds(1) { return true }
            contents.lastWrites[path] = now
            return false
        }
    }

    /// Whether all parts but the last are of one size, and the last is none bigger; as far as they came by here.
    func areEqual(_ parts: [Int], of upload: String) -> Bool {
        let sizes = self.contents.read { contents in parts.sorted().compactMap { contents.parts[upload]?[$0] } }
        guard let first = sizes.first, let last = sizes.last else { return true }
        return sizes.dropLast().allSatisfy { $0 == first } && last <= first
    }

    /// One conditional write to a key at a time: what the server compares and what it does is not one step.
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

/// Whose turn it is, for each key.
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
