/// A compact, valid text that is read level by level.
///
/// One pass finds the ends of all objects and arrays (containers). A walk that descends from level to level then skips each
/// container in one step, so it reads every byte a bounded number of times, however deeply the text is nested. Without that
/// pass, the walk would read a container again for each container that it is in.
struct JSONOutline {
    /// A value of the text.
    struct Value {
        /// Range of the value.
        let range: Range<Int>
        /// Number of containers that open before the value: the index in `containers` of the first one within it.
        fileprivate let container: Int
    }

    /// A member of an object.
    struct Member {
        /// Range of the name, including its quotes.
        let key: Range<Int>
        let value: Value
    }

    private struct Container {
        /// Index after the closing bracket.
        var end: Int
        /// Number of containers that open before `end`.
        var following: Int
    }

    let bytes: [UInt8]
    /// The containers in the order in which they open; `nil` if the text was not outlined.
    private let containers: [Container]?

    /// - Parameter descends: whether the caller reads more than one level. If not, the pass over the text is not needed: the
    ///   walk over one level finds the ends of its containers itself.
    init(_ bytes: [UInt8], descends: Bool) {
        self.bytes = bytes
        self.containers = descends ? Self.containers(in: bytes.span) : nil
    }

    /// The whole text.
    var root: Value { Value(range: self.bytes.indices, container: 0) }

    /// The members of an object, repeated ones included; empty for any other value.
    func members(of value: Value) -> Members { Members(self, value) }

    /// The elements of an array; empty for any other value.
    func elements(of value: Value) -> Elements { Elements(self, value) }

    /// The first byte of a value, which tells its type; 0 for a value outside of the text.
    func first(of value: Value) -> UInt8 {
        value.range.lowerBound < self.bytes.count ? self.bytes[value.range.lowerBound] : 0
    }

    private static func containers(in bytes: Span<UInt8>) -> [Container] {
        var containers: [Container] = []
        var open: [Int] = []
        var index = 0
        while index < bytes.count {
            switch bytes[index] {
            case JSONByte.quote:
                index = JSONWalk.endOfString(in: bytes, from: index)
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                open.append(containers.count)
                containers.append(Container(end: bytes.count, following: 0))
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                // In a valid text every bracket closes a container.
                if let closed = open.popLast() {
                    containers[closed] = Container(end: index + 1, following: containers.count)
                }
            default: break
            }
            index += 1
        }
        for unclosed in open { containers[unclosed].following = containers.count }
        return containers
    }

    /// The value at an index of the text.
    /// - Parameters:
    ///   - container: see ``Value/container``.
    ///   - following: receives the number of containers that open before the value's end.
    @inline(__always)
    private func value(_ bytes: Span<UInt8>, at start: Int, container: Int, following: inout Int) -> Value {
        let first = bytes[start]
        if first == UInt8(ascii: "{") || first == UInt8(ascii: "["), let containers, container < containers.count {
            following = containers[container].following
            return Value(range: start..<max(start, containers[container].end), container: container)
        }
        following = container
        return Value(range: start..<JSONWalk.endOfValue(in: bytes, from: start), container: container)
    }

    /// The members of one object in the order of the text.
    struct Members: Sequence, IteratorProtocol {
        private let outline: JSONOutline
        private var position: Int
        private var container: Int

        fileprivate init(_ outline: JSONOutline, _ object: Value) {
            self.outline = outline
            let isObject = outline.first(of: object) == UInt8(ascii: "{")
            self.position = isObject ? object.range.lowerBound + 1 : outline.bytes.count
            self.container = object.container + 1
        }

        /// The next member; `nil` after the last one.
        mutating func next() -> Member? {
            // A copy, since a span of `self.outline.bytes` would borrow all of `self`.
            let bytes = self.outline.bytes
            let span = bytes.span
            let key = self.position
            guard key < span.count, span[key] == JSONByte.quote else { return nil }
            let keyEnd = JSONWalk.endOfString(in: span, from: key)
            guard keyEnd + 1 < span.count else { return nil }
            let value = self.outline.value(span, at: keyEnd + 1, container: self.container, following: &self.container)
            let end = value.range.upperBound
            // Continue after the comma. Without a comma the object has ended.
            let isLast = end >= span.count || span[end] != UInt8(ascii: ",")
            self.position = isLast ? span.count : end + 1
            return Member(key: key..<keyEnd, value: value)
        }
    }

    /// The elements of one array.
    struct Elements: Sequence, IteratorProtocol {
        private let outline: JSONOutline
        private var position: Int
        private var container: Int

        fileprivate init(_ outline: JSONOutline, _ array: Value) {
            self.outline = outline
            let isArray = outline.first(of: array) == UInt8(ascii: "[")
            self.position = isArray ? array.range.lowerBound + 1 : outline.bytes.count
            self.container = array.container + 1
        }

        /// The next element; `nil` after the last one.
        mutating func next() -> Value? {
            // A copy, since a span of `self.outline.bytes` would borrow all of `self`.
            let bytes = self.outline.bytes
            let span = bytes.span
            guard self.position < span.count else { return nil }
            let value = self.outline.value(span, at: self.position, container: self.container, following: &self.container)
            // No value before the closing bracket: the array is empty.
            guard !value.range.isEmpty else { return nil }
            let end = value.range.upperBound
            let isLast = end >= span.count || span[end] != UInt8(ascii: ",")
            self.position = isLast ? span.count : end + 1
            return value
        }
    }
}
