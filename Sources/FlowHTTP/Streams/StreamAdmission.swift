import FlowCore
import HTTPTypes
import NIOCore

/// Decides about requests for event streams: token, rights, limits, and what a client is sent that gets no stream. It knows no
/// transport.
///
/// A request is authenticated at its head, with ``authenticate(_:target:isSecure:)`` and ``verify(_:)``; then it is parsed, also
/// from a body that was read meanwhile; then ``admit(_:_:isHead:record:)`` decides. Confined to the event loop, but for ``verify(_:)``.
struct StreamAdmission {
    /// What to do with a request for an event stream.
    enum Decision {
        /// Open the stream. It counts towards the limits from now on, until ``StreamShard/closed(_:)``.
        case open(AdmittedStream)
        /// Answer with a problem.
        case problem(HTTPProblem)
        /// A limit is reached: send this block as a whole stream, so that the client reconnects later.
        case full(StreamBlock)
        /// The hub drains: close the connection without a response. A proxy then sends the request to another instance, and a
        /// browser's `EventSource` reconnects; any response would reach the client, and the proxy would send the next request
        /// here again.
        case drain
        /// Answer HEAD, without a stream: with 204 if the store confirms the claim, else with the head of a stream.
        case head(StreamHead?)
    }

    let access: AccessControl
    let shard: StreamShard

    /// Whether the hub drains, so that ``admit(_:_:isHead:record:)`` would decide on ``Decision/drain``, which is counted.
    func declinesWhileDraining() -> Bool {
        guard self.shard.services.isDraining else { return false }
        self.shard.services.countRefusal(.drain)
        return true
    }

    // MARK: The head

    /// Parses a request whose target names its flows.
    /// - Parameter remote: the client's IP address.
    func parse(_ head: HTTPRequest, target: RequestPath, remote: String) throws(StreamRequest.Malformed) -> StreamRequest {
        var request = try StreamRequest(
            path: target.path, query: target.query, lastEventID: head.headerFields[.lastEventID],
            maximumFlows: self.shard.services.configuration.maximumFlows)
        request.remote = remote
        return request
    }

    /// Decides about the access of a request from its head, without verifying a signature.
    /// - Parameter isSecure: whether the client is known to use https.
    func authenticate(_ head: HTTPRequest, target: RequestPath, isSecure: Bool) -> AccessControl.HeadDecision {
        self.access.decide(head, target: target, isSecure: isSecure)
    }

    // MARK: The decision

    /// Decides about a parsed request.
    /// - Parameters:
    ///   - access: what the head has decided about its access. The body may have taken a while to arrive, so it is checked again.
    ///   - isHead: whether the request's method is HEAD.
    ///   - record: the access log's record of the request.
    func admit(_ request: StreamRequest, _ access: RequestAccess, isHead: Bool, record: RequestRecord?) -> Decision {
        if self.declinesWhileDraining() { return .drain }
        let principal: Principal
        switch access {
        case .notNeeded: return .problem(HTTPProblem(.tokenMissing))
        case .denied(let error): return .problem(HTTPProblem(error))
        case .granted(let granted): principal = granted
        }
        do throws(AccessError) { try self.access.check(principal) } catch { return .problem(HTTPProblem(error)) }
        record?.set(\.principal, principal)
        if let hidden = request.flows.first(where: { !principal.maySubscribe($0) }) {
            let need = "permission to subscribe to the flow \(hidden) (flows.subscribe)"
            return .problem(HTTPProblem(.forbidden(need: need, claim: "flows.subscribe", seen: hidden.rawValue)))
        }
        if isHead {
            return .head(StreamHead(request, account: principal.account, epoch: self.shard.services.manager.epoch))
        }
        guard let number = self.shard.services.admit(principal, request) else {
            return .full(StreamEncoder(request).closing(.full, retryMilliseconds: self.shard.jitteredRetry()))
        }
        return .open(AdmittedStream(number: number, principal: principal, request: request))
    }

    /// Opens an admitted stream.
    func open(_ admitted: AdmittedStream, output: any StreamOutput) -> EventStream {
        EventStream(
            number: admitted.number, principal: admitted.principal, remote: admitted.request.remote, request: admitted.request,
            epoch: self.shard.services.manager.epoch, shard: self.shard, output: output)
    }
}

/// A stream that counts towards the limits and is not open yet.
struct AdmittedStream {
    /// Number of the stream in the connection registry, unique within this process.
    let number: UInt64
    let principal: Principal
    let request: StreamRequest
}
