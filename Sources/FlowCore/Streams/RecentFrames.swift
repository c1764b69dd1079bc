import NIOCore

/// The newest durable frames of a flow, with consecutive versions, in memory. Most readers replay from here instead of from
/// the store.
///
/// Bounded by number and bytes; the oldest frames are dropped first, but the newest one is always kept.
public struct RecentFrames: Sendable {
    /// Bounds of the frames that are kept for one flow.
    public struct Limit: Hashable, Sendable {
        /// Maximum number of frames.
        public var frames = 256
        /// Maximum total size of the frames, in bytes. The newest frame is kept even if it alone is larger.
        public var bytes = 262_144

        public init() {}
    }

    /// The version before the oldest frame. Readers with a cursor at or above this version can replay from these frames.
    public private(set) var base: Version
    private var frames: [Frame] = []
    private var bytes = 0
    private let limit: Limit

    public init(base: Version, limit: Limit = .init()) {
        self.base = base
        self.limit = limit
    }

    /// The version of the newest frame; ``base`` if there is none.
    public var last: Version { self.base + Version(self.frames.count) }

    /// Appends a frame. If its version does not follow ``last``, all earlier frames are dropped.
    public mutating func append(_ frame: Frame) {
        if frame.version != self.last + 1 {
            self.frames.removeAll(keepingCapacity: true)
            self.bytes = 0
            self.base = frame.version - 1
        }
        self.frames.append(frame)
        self.bytes += frame.block.size
        // Dropping an eighth at a time keeps the amortized cost of moving the remaining frames small.
        while self.frames.count > self.limit.frames || (self.bytes > self.limit.bytes && self.frames.count > 1) {
            self.drop(max(1, self.frames.count / 8))
        }
    }

    /// Drops the `count` oldest frames.
    private mutating func drop(_ count: Int) {
        for frame in self.frames.prefix(count) { self.bytes -= frame.block.size }
        self.frames.removeFirst(count)
        self.base += Version(count)
    }

    /// Returns the frames after a version: as many as fit in `maximumBytes`, and at least one.
    /// - Returns: `nil` if the version is below ``base``, or if there are no frames after it.
    public func page(after version: Version, maximumBytes: Int) -> ArraySlice<Frame>? {
        guard version >= self.base, version < self.last else { return nil }
        let start = Int(version - self.base)
        var end = start
        var bytes = 0
        while end < self.frames.count {
            bytes += self.frames[end].block.size
            if bytes > maximumBytes, end > start { break }
            end += 1
        }
        return self.frames[start..<end]
    }
}
