import FlowCore

/// The claim of a request that the client has every event of flows that have ended, so that GET is answered with 204. HEAD, which
/// opens no stream, is answered by it alone.
struct StreamHead: Sendable {
    private let account: String
    private let flows: [FlowID]
    /// The versions in the client's cursor, one for each flow.
    private let versions: [Version]

    /// - Returns: `nil` if the request's cursor does not have a version of each flow, so that GET opens a stream.
    init?(_ request: StreamRequest, account: String, epoch: Epoch) {
        guard !request.isFeed else { return nil }
        let plan = ResumePlan(
            position: request.position, flows: request.flows, epoch: epoch, wantsSnapshot: request.wantsSnapshot)
        self.versions = plan.startPoints.compactMap { startPoint -> Version? in
            if case .after(let version) = startPoint { version } else { nil }
        }
        guard self.versions.count == request.flows.count else { return nil }
        self.flows = request.flows
        self.account = account
    }

    /// Whether the store confirms that each flow is terminal at its version. If the store fails, GET opens a stream that ends with
    /// `closing`.
    func isConfirmed(by manager: StateManager) async -> Bool {
        guard let heads = try? await manager.heads(of: self.flows) else { return false }
        return zip(self.flows, self.versions).allSatisfy { flow, version in
            heads.contains {
                $0.flow == flow && $0.account == self.account && $0.version == version && $0.status.isTerminal
            }
        }
    }
}
