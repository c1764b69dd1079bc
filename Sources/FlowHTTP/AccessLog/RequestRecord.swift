import FlowCore
import HTTPTypes
import NIOCore
import Synchronization

/// What the access log knows of one request, from its head until its record is written. Safe to use from any thread.
final class RequestRecord: Sendable {
    /// What becomes known while the request is answered.
    struct Outcome: Sendable {
        /// Who sent the request; `nil` before access was granted.
        var principal: Principal?
        /// Bytes of the request's body that have arrived.
        var received = 0
        /// Bytes of the response's body that were written.
        var sent = 0
        /// The version of the flow that the request has committed.
        var version: Version?
        /// Whether the response is that of an earlier request with the same idempotency key.
        var isReplayed = false
        /// What the request created or changed, if its path does not name it.
        var object: (kind: String, id: String)?
        /// The code of the problem with which the request was answered.
        var code: String?
    }

    /// The request's id.
    let id: String
    /// The request's method; `nil` if the request could not be parsed.
    let method: HTTPRequest.Method?
    let target: RequestTarget
    /// The client's IP address.
    let remote: String
    private let start = NIODeadline.now()
    private let state = Mutex(Outcome())

    init(id: String, method: HTTPRequest.Method?, target: RequestTarget, remote: String) {
        self.id = id
        self.method = method
        self.target = target
        self.remote = remote
    }

    /// What is known up to now.
    var outcome: Outcome { self.state.withLock { $0 } }

    /// Milliseconds since the request's head, with three decimals.
    var milliseconds: Double { (Double((NIODeadline.now() - self.start).nanoseconds) / 1_000).rounded() / 1_000 }

    func received(_ bytes: Int) { self.state.withLock { $0.received += bytes } }
    func sent(_ bytes: Int) { self.state.withLock { $0.sent += bytes } }

    /// Sets one of the members that become known while the request is answered.
    func set<Value: Sendable>(_ member: any WritableKeyPath<Outcome, Value> & Sendable, _ value: Value) {
        self.state.withLock { $0[keyPath: member] = value }
    }
}
