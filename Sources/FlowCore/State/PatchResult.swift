/// The result of applying a merge patch to a state: a pure function of the two texts.
///
/// It can be computed before the change reached the store's writer. The result is valid for exactly the state that it was
/// computed from.
public struct PatchResult: Sendable {
    /// The state to which the patch was applied.
    public let base: JSONText
    public let state: JSONText
    /// Whether the meaning of the state has changed.
    public let isChanged: Bool
    /// The nesting depth of ``state``, see ``JSONText/depth``.
    public let depth: Int
    /// The status in ``state``.
    public let status: FlowStatus

    /// Applies the patch. Takes time in proportion to the lengths of both texts.
    public init(of patch: JSONText, on base: JSONText) {
        self.base = base
        (self.state, self.isChanged) = base.merging(patch)
        self.depth = self.state.depth
        self.status = FlowStatus(of: self.state)
    }
}

extension FlowChange {
    /// Where a patch is applied.
    public enum Preparation: Sendable {
        /// Where the change is decided, whatever the size of the state.
        case inPlace
        /// Where the change is decided if state and patch have at most ``FlowChange/smallPatchBytes`` together. Otherwise the
        /// result must have been computed before, for the flow's state; if it was not, the change is not decided.
        case ahead(PatchResult?)
        /// Depth and status of a large new state were read from its text before the change is decided.
        case read(depth: Int, status: FlowStatus)
    }

    /// Maximum size of a state and a patch together, in bytes, up to which a patch is applied where the change is decided, if
    /// patches are prepared. Applying it takes less time than committing the change.
    public static let smallPatchBytes = 16_384

    /// The result of the change's patch on a state; `nil` if it must be computed before the change is decided.
    func patchResult(of patch: JSONText, on base: JSONText) -> PatchResult? {
        guard case .ahead(let prepared) = self.preparation else { return PatchResult(of: patch, on: base) }
        // Texts that share their buffer, as here in all usual cases, are found equal without reading them.
        if let prepared, prepared.base == base { return prepared }
        guard base.bytes.count + patch.bytes.count <= Self.smallPatchBytes else { return nil }
        return PatchResult(of: patch, on: base)
    }

    /// Depth and status of the state with which the change replaces the flow's.
    func properties(of state: JSONText) -> (depth: Int, status: FlowStatus) {
        if case .read(let depth, let status) = self.preparation { return (depth, status) }
        return (state.depth, FlowStatus(of: state))
    }
}
