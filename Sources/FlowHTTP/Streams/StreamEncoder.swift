import FlowCore
import NIOCore

/// How blocks name their event. Subscribers of a flow whose streams have the same form share the flow's encoded blocks.
enum BlockForm: Hashable, Sendable {
    /// With a line `event:`.
    case named
    /// Without a line `event:`, so that a browser dispatches each block as `message`. The type is in the data.
    case unnamed
}

/// The dialect of one stream: how its events become bytes. A value without a connection; the stream decides what is sent and
/// when, the ``StreamOutput`` how it reaches the client.
struct StreamEncoder: Sendable {
    /// What the lines `id:` of a stream contain.
    enum CursorStyle: Hashable, Sendable {
        /// The position in the stream's only flow.
        case flow
        /// The positions in all flows of the stream.
        case combined(FlowSetHash)
        /// The position in the flow of the block; the client keeps a cursor for each flow.
        case eachFlow
    }

    let cursors: CursorStyle
    let form: BlockForm
    /// The wanted event types; `nil` for all. Control events are always wanted.
    let types: Set<EventType>?
    /// Number of spaces in the comment that precedes the first block and each heartbeat; 0: no comment.
    let padding: Int

    init(_ request: StreamRequest) {
        self.cursors =
            request.hasSharedCursor ? .combined(FlowSetHash(of: request.flows)) : request.flows.count > 1 ? .eachFlow : .flow
        self.form = request.encoding.form
        self.types = request.types
        self.padding = request.encoding.padding
    }

    /// The form in which the stream sends the shared blocks of its flows unchanged; `nil` if it filters events or has cursors of
    /// its own.
    var sharedForm: BlockForm? { self.types == nil && self.sharesCursors ? self.form : nil }

    /// Whether the cursor in a flow's shared blocks is the stream's.
    var sharesCursors: Bool {
        switch self.cursors {
        case .flow, .eachFlow: true
        case .combined: false
        }
    }

    func wants(_ type: EventType) -> Bool { self.types?.contains(type) ?? true }

    /// The first lines of a stream. They have no empty line at their end, so they belong to the first block: a block without
    /// data would be an empty message to some clients.
    func opening(retryMilliseconds: Int) -> StreamBlock {
        StreamBlock(eventCount: 0, capacity: self.padding + 32) { buffer in
            self.writePadding(to: &buffer)
            buffer.writeRetryLine(milliseconds: retryMilliseconds)
        }
    }

    /// Writes the comment that a client has asked for. The caller writes the lines of a block after it.
    func writePadding(to buffer: inout ByteBuffer) {
        if self.padding > 0 { buffer.writePadding(self.padding) }
    }

    /// Appends an event.
    /// - Parameters:
    ///   - cursor: what its line `id:` contains; `nil` leaves the line as the event has it.
    ///   - retryMilliseconds: the time in a line `retry:`; `nil` for none.
    func append(
        _ event: EncodedEvent, cursor: Cursor? = nil, retryMilliseconds: Int? = nil, to builder: inout StreamBlock.Builder
    ) {
        builder.append(eventCount: 1) { buffer in
            if let retryMilliseconds { buffer.writeRetryLine(milliseconds: retryMilliseconds) }
            if let cursor { buffer.writeIDLine(cursor) } else { buffer.writeImmutableBuffer(event.idLine) }
            buffer.writeImmutableBuffer(self.form == .named ? event.body : event.data)
        }
    }

    /// The event `closing` of a stream that ends before it has started.
    func closing(_ reason: ClosingReason, retryMilliseconds: Int) -> StreamBlock {
        var builder = StreamBlock.Builder()
        self.append(ControlEvent.closing(reason).encoded(), retryMilliseconds: retryMilliseconds, to: &builder)
        return builder.finish()
    }

    /// An event in this stream's form, with its own line `id:`, if it has one.
    func block(of event: EncodedEvent) -> StreamBlock { Self.block(of: event, form: self.form) }

    /// An event in a form, with its own line `id:`, if it has one. Not copied if the form is ``BlockForm/named``.
    static func block(of event: EncodedEvent, form: BlockForm) -> StreamBlock {
        switch form {
        case .named: event.block
        case .unnamed:
            StreamBlock(capacity: event.block.size) { buffer in
                buffer.writeImmutableBuffer(event.idLine)
                buffer.writeImmutableBuffer(event.data)
            }
        }
    }

    /// Consecutive frames as one block.
    /// - Parameter frames: not empty.
    static func block(of frames: some Collection<Frame>, form: BlockForm) -> StreamBlock {
        if frames.count == 1, let only = frames.first { return Self.block(of: only.encoded, form: form) }
        var builder = StreamBlock.Builder(capacity: frames.reduce(0) { $0 + $1.size })
        for frame in frames {
            switch form {
            case .named: builder.append(frame.encoded.block.payload, eventCount: 1)
            case .unnamed:
                builder.append(frame.encoded.idLine, eventCount: 0)
                builder.append(frame.encoded.data, eventCount: 1)
            }
        }
        return builder.finish()
    }
}

/// A value for each form that is in use.
struct PerForm<Value> {
    private var named: Value?
    private var unnamed: Value?

    subscript(form: BlockForm) -> Value? {
        get {
            switch form {
            case .named: self.named
            case .unnamed: self.unnamed
            }
        }
        set {
            switch form {
            case .named: self.named = newValue
            case .unnamed: self.unnamed = newValue
            }
        }
    }

    /// The value for a form. Made by `make` if there is none.
    mutating func value(for form: BlockForm, orElse make: () -> Value) -> Value {
        if let value = self[form] { return value }
        let value = make()
        self[form] = value
        return value
    }
}
