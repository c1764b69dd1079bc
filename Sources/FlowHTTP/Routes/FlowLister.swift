import FlowCore

/// Reads a list page of the flows that a token may see, in the order of their ids.
///
/// It queries only ids that the token's patterns match. So neither the page nor its `next` depends on the account's other
/// flows.
struct FlowLister {
    /// Maximum number of queries for one page. A page that needs more of them, because most of the token's patterns match no
    /// flow, has fewer flows than requested, and continues after the last pattern that was queried.
    static let maximumQueries = 50

    let manager: StateManager
    let principal: Principal
    /// The status that the flows must have; `nil`: any but `deleted`.
    let status: FlowStatus?

    /// - Parameter after: only flows with higher ids.
    /// - Returns: the flows, and the id after which the next page starts; `nil` if there are no more.
    func page(after: String?, limit: Int) async throws -> (flows: [FlowHead], next: String?) {
        var flows: [FlowHead] = []
        var after = after ?? ""
        var queries = 0
        for range in FlowPattern.ranges(of: self.principal.subscribe) where range.last > after {
            while true {
                // One flow more than requested shows whether there are more.
                guard flows.count <= limit, queries < Self.maximumQueries else {
                    return Self.page(flows, limit: limit, next: after)
                }
                queries += 1
                let query = FlowQuery(
                    account: self.principal.account, statuses: self.status.map { [$0] } ?? [], order: .id(after: after),
                    idRanges: [range.first...range.last], includesDeleted: self.status == .deleted,
                    limit: limit + 1 - flows.count)
                let page = try await self.manager.list(query)
                flows += page.flows
                after = page.hasMore ? page.flows.last?.flow.rawValue ?? range.last : range.last
                if !page.hasMore { break }
            }
        }
        return Self.page(flows, limit: limit, next: nil)
    }

    /// The first `limit` flows, and the last of them as `next` if there are more flows.
    private static func page(_ flows: [FlowHead], limit: Int, next: String?) -> (flows: [FlowHead], next: String?) {
        guard flows.count > limit else { return (flows, next) }
        return (Array(flows.prefix(limit)), flows[limit - 1].flow.rawValue)
    }
}
