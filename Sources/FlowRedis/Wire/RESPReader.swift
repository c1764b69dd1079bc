import CHiredis
import NIOCore

/// Takes a connection's bytes apart into replies, by hiredis's reader. Confined to whoever owns it.
///
/// What it finds wrong it goes on finding wrong: the connection must be closed then.
final class RESPReader {
    /// Why the bytes are no replies.
    struct Malformed: Error, Hashable {
        var description: String
    }

    private let reader: UnsafeMutablePointer<redisReader>
    private let maximumReply: Int
    /// Bytes that came since the last reply was finished.
    private var unfinished = 0

    /// - Parameter maximumReply: bytes that may wait for the rest of their reply.
    init(maximumReply: Int) {
        // As Swift itself does without memory.
        guard let reader = flowhub_reader_create() else { fatalError("out of memory") }
        self.reader = reader
        self.maximumReply = maximumReply
    }

    deinit { flowhub_reader_free(self.reader) }

    func feed(_ bytes: ByteBuffer) throws(Malformed) {
        self.unfinished += bytes.readableBytes
        let result = bytes.withUnsafeReadableBytes { bytes in
            redisReaderFeed(self.reader, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
        }
        if result != REDIS_OK { throw self.malformed }
    }

    /// The next reply; `nil` until more bytes came.
    func next() throws(Malformed) -> RESPValue? {
        var reply: UnsafeMutableRawPointer?
        guard redisReaderGetReply(self.reader, &reply) == REDIS_OK else { throw self.malformed }
        guard let reply else {
            guard self.unfinished <= self.maximumReply else {
                throw Malformed(description: "a reply of more than \(self.maximumReply) bytes")
            }
            return nil
        }
        defer { flowhub_free_reply(reply) }
        self.unfinished = flowhub_reader_pending(self.reader)
        return try Self.value(reply.assumingMemoryBound(to: redisReply.self).pointee)
    }

    private var malformed: Malformed {
        // What hiredis says of it is a fixed text.
        let text = withUnsafeBytes(of: self.reader.pointee.errstr) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        return Malformed(description: text.isEmpty ? "bytes that are no reply" : text)
    }

    /// As deep as the reader let it become.
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
                guard let element = reply.element[index] else { throw Malformed(description: "an array with a hole") }
                values.append(try Self.value(element.pointee))
            }
            return .array(values)
        default: throw Malformed(description: "a reply of a type that was not asked for")
        }
    }

    private static func bytes(_ reply: redisReply) -> [UInt8] {
        guard let start = reply.str else { return [] }
        return Array(UnsafeRawBufferPointer(start: start, count: Int(reply.len)))
    }
}
