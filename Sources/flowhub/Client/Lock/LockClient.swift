import FlowCore
import NIOCore

/// One of the hub's locks, as whoever wants to hold it sees it.
struct LockClient: Sendable {
    /// The lock, as it was got.
    struct Held: Sendable {
        let id: String
        let fencingToken: Int64
        /// Until when it is held for sure, unless it is renewed: counted from before it was asked for.
        let until: ContinuousClock.Instant
    }

    enum Renewal: Sendable {
        case renewed(until: ContinuousClock.Instant)
        /// It is not held any more, or this token may not hold it.
        case refused(String)
        /// The hub did not say. Another attempt may end better.
        case failed(String)
    }

    /// For the hub to answer one attempt, at most.
    private static let timeout = TimeAmount.seconds(10)
    /// Between two attempts to get a lock that somebody holds: at first, and at most.
    private static let firstPause = 0.25
    private static let longestPause = 2.0

    let client: HubClient
    let resource: String
    let ttl: Int

    // MARK: AcquireResult

    /// Takes the lock, again and again for as long as somebody else holds it or the hub is away.
    ///
    /// Cancelling ends the waiting between two attempts, never an attempt: its answer is a lock.
    func acquire(waiting: Duration) async throws -> Held {
        let end = ContinuousClock.now + waiting
        var pause = Self.firstPause
        var attempts = 0
        while true {
            attempts += 1
            // A task of its own, so that it is not cancelled with this one.
            let outcome = await Task { await self.take() }.value
            let left = ContinuousClock.now.duration(to: end)
            switch outcome {
            case .held(let held): return held
            case .failed(let failure, let isWorthAnother):
                guard isWorthAnother ? left > .zero || attempts < HubClient.attempts : failure.mayPass && left > .zero else {
                    throw failure
                }
                if attempts == 1 { Terminal.say("flowhub: waiting. \(failure.message)") }
            }
            let jittered = Duration.seconds(pause * Double.random(in: 0.5...1))
            try await Task.sleep(for: left > .zero ? min(left, jittered) : jittered)
            pause = min(pause * 2, Self.longestPause)
        }
    }

    private enum AcquireResult: Sendable {
        case held(Held)
        /// `isWorthAnother`: nothing was done, so that a few more attempts belong to the ordinary patience of a command.
        case failed(CommandFailure, isWorthAnother: Bool)
    }

    private func take() async -> AcquireResult {
        let began = ContinuousClock.now
        var request = HubClient.Request(method: .post, target: self.target)
        request.body = Array("{\"ttl\":\(self.ttl)}".utf8)
        request.timeout = Self.timeout
        let response: HubClient.Response
        do {
            response = try await self.client.exchange(request)
        } catch {
            var failure = self.client.unreachable(error)
            let isUnsent = HubClient.wasNeverSent(error)
            if !isUnsent {
                failure = CommandFailure(
                    .unreachable,
                    "\(failure.message) If it took the lock all the same, that runs out within \(self.ttl) s.")
            }
            return .failed(failure, isWorthAnother: isUnsent)
        }
        guard (200..<300).contains(response.status) else {
            let failure = HubProblem(status: response.status, body: response.body).failure
            return .failed(failure, isWorthAnother: response.status == 429)
        }
        let body = try? JSONText(validating: response.body)
        guard let id = body?.member("lock_id")?.stringValue, let token = body?.member("fencing_token")?.intValue else {
            let failure = CommandFailure(.refused, "The answer is not a lock. Is --url the address of a FlowHub?")
            return .failed(failure, isWorthAnother: false)
        }
        return .held(Held(id: id, fencingToken: token, until: began + .seconds(self.ttl)))
    }

    // MARK: Keeping

    /// One attempt, which leaves time for another one where there is.
    /// - Parameter left: how long the lock lasts without it.
    func renew(_ id: String, left: Duration) async -> Renewal {
        let began = ContinuousClock.now
        var request = HubClient.Request(method: .put, target: self.target)
        request.body =
            JSONText.object { writer in
                writer.key("lock_id")
                writer.value(id)
                writer.key("ttl")
                writer.value(self.ttl)
            }.bytes
        request.timeout = max(.milliseconds(1), min(Self.timeout, TimeAmount(min(left, .seconds(self.ttl) / 3))))
        let response: HubClient.Response
        do { response = try await self.client.exchange(request) } catch { return .failed(HubClient.words(error)) }
        switch response.status {
        case 200..<300: return .renewed(until: began + .seconds(self.ttl))
        case 429, 500...: return .failed("the hub answered \(response.status)")
        default: return .refused(HubProblem(status: response.status, body: response.body).message)
        }
    }

    /// Lets go of the lock. If that does not work, it runs out by itself, and that is said.
    func release(_ id: String) async {
        var request = HubClient.Request(method: .delete, target: "\(self.target)?lock_id=\(HubURL.encoded(id))")
        request.timeout = .seconds(5)
        request.attempts = 2
        do { _ = try await self.client.send(request) } catch {
            Terminal.say("flowhub: the lock was not released and runs out within \(self.ttl) s. \(error)")
        }
    }

    private var target: String { "/v1/locks/\(HubURL.encoded(self.resource))" }
}

extension CommandFailure {
    /// Whether it may be over after some waiting: a held lock, a hub that is away.
    fileprivate var mayPass: Bool { self.kind == .conditionFailed || self.kind == .unreachable }
}
