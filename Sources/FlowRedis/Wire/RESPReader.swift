import CHiredis
import NIOCore

/// Incremental parser of replies, on hiredis's reader. Not thread-safe.
///
/// Errors are permanent: after one, the connection must be closed.
final class RESPReader {
    /// The reason why the bytes are not a valid reply.
    struct Malformed: Error, Hashable {
        var description: String
    }

    private let reader: UnsafeMutablePointer<redisReader>
    private let maximumReply: Int
    /// Bytes received since the last complete reply.
    private var unfinished = 0

    /// - Parameter maximumReply: maximum bytes of an incomplete reply.
    init(maximumReply: Int) {
        // Out of memory is fatal, as everywhere in Swift.
        guard let reader = flowhub_reader_create() else { fatalError("out of memory") }
        self.reader = reader
        self.maximumReply = maximumReply
    }

    deinit { flowhub_reader_free(self.reader) }

    /// Appends received bytes to the parser's input.
    /// - Throws: ``Malformed`` if the parser has failed before.
    func feed(_ bytes: ByteBuffer) throws(Malformed) {
        self.unfinished += bytes.readableBytes
        let result = bytes.withUnsafeReadableBytes { bytes in
            redisReaderFeed(self.reader, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
        }
        if result != REDIS_OK { throw self.malformed }
    }

    /// The next complete reply; `nil` until more bytes are fed.
    /// - Throws: ``Malformed`` if the bytes are invalid, or an incomplete reply exceeds the maximum.
    func next() throws(Malformed) -> RESPValue? {
        var reply: UnsafeMutableRawPointer?
        guard redisReaderGetReply(self.reader, &reply) == REDIS_OK else { throw self.malformed }
        guard let reply else {
            guard self.unfinished <= self.maximumReply else {
                throw Malformed(description: "a reply exceeds \(self.maximumReply) bytes (FLOWHUB_REDIS_MAX_REPLY_BYTES)")
            }
            return nil
        }
        defer { flowhub_free_reply(reply) }
        self.unfinished = flowhub_reader_pending(self.reader)
        return try Self.value(reply.assumingMemoryBound(to: redisReply.self).pointee)
    }

    /// The error that hiredis's reader reports.
    private var malformed: Malformed {
        // hiredis's error texts quote at most one received byte.
        let text = withUnsafeBytes(of: self.reader.pointee.errstr) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        return Malformed(description: text.isEmpty ? "protocol error" : text)
    }

    /// Converts a reply of hiredis, including nested arrays. hiredis's reader limits the depth of nesting, and so this
    /// recursion.
    private static func value(_ reply: redisReply) throws(Malformed) -> RESPValue {
        switch reply.type {
        case REDIS_REPLY_STRING: return .string(Self.bytes(reply))
        case REDIS_REPLY_STATUS: return .status(String(decoding: Self.bytes(reply), as: UTF8.self))
        case REDIS_REPLY_ERROR: return .error(String(decoding: Self.bytes(reply), as: UTF8.self))
        case REDIS_REPLY_INTEGER: return .integer(Int64(reply.integer))
        case REDIS_REPLY_NIL: return .null
        case REDIS_REPLY_ARRAY:
            var values: [RESPValue] = []
            values.reserveCapacity(Int(reply.elements))
            for index in 0..<Int(reply.elements) {
                guard let element = reply.element[index] else { throw Malformed(description: "an array element is missing") }
                values.append(try Self.value(element.pointee))
            }
            return .array(values)
        default: throw Malformed(description: "unsupported reply type \(reply.type)")
        }
    }

    /// The content of a string, status or error reply.
    private static func bytes(_ reply: redisReply) -> [UInt8] {
        guard let start = reply.str else { return [] }
        return Array(UnsafeRawBufferPointer(start: start, count: Int(reply.len)))
    }
}
