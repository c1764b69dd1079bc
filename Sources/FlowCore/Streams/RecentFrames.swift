import NIOCore

/// The newest durable frames of a flow, consecutive, so that most readers need not ask the store.
///
/// Bounded by count and bytes; the oldest go first.
public struct RecentFrames: Sendable {
    public struct Limit: Hashable, Sendable {
        public var frames = 256
        public var bytes = 262_144

        public init() {}
    }

    /// The version before the first frame: who stands here or later can be served.
    public private(set) var base: Version
    private var frames: [Frame] = []
    private var bytes = 0
    private let limit: Limit

    public init(base: Version, limit: Limit = .init()) {
        self.base = base
        self.limit = limit
    }

    public var last: Version { self.base + Version(self.frames.count) }

    /// A frame that does not follow the last one begins the record anew.
    public mutating func append(_ frame: Frame) {
        if frame.version != self.last + 1 {
            self.frames.removeAll(keepingCapacity: true)
            self.bytes = 0
            self.base = frame.version - 1
        }
        self.frames.append(frame)
        self.bytes += frame.bytes.readableBytes
        // Dropping an eighth at a time keeps the cost of moving the rest small.
        while self.frames.count > self.limit.frames || (self.bytes > self.limit.bytes && self.frames.count > 1) {
            self.drop(max(1, self.frames.count / 8))
        }
    }

    private mutating func drop(_ count: Int) {
        for frame in self.frames.prefix(count) { self.bytes -= frame.bytes.readableBytes }
        self.frames.removeFirst(count)
        self.base += Version(count)
    }

    /// The frames after a version, up to so many bytes but at least one; `nil` if they do not reach back that far or
    /// there are none.
    public func page(after version: Version, maximumBytes: Int) -> ArraySlice<Frame>? {
        guard version >= self.base, version < self.last else { return nil }
        let start = Int(version - self.base)
        var end = start
        var bytes = 0
        while end < self.frames.count {
            bytes += self.frames[end].bytes.readableBytes
            if bytes > maximumBytes, end > start { break }
            end += 1
        }
        return self.frames[start..<end]
    }
}
