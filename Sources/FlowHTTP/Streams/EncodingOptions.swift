import FlowCore

/// The parameters of a request that choose how the blocks of its stream are encoded.
struct EncodingOptions: Sendable {
    /// Maximum of `?pad=`.
    static let maximumPadding = 8_192

    /// `?event=message`: unnamed blocks.
    var form = BlockForm.named
    /// `?pad=`: number of spaces in the comment that precedes the first block and each heartbeat.
    var padding = 0

    init() {}

    /// Reads the parameters `event` and `pad`.
    init(_ parameters: QueryParameters) throws(StreamRequest.Malformed) {
        switch parameters.first("event") {
        case nil, "": break
        case "message": self.form = .unnamed
        default:
            throw StreamRequest.Malformed(
                code: "bad_parameter", detail: "The parameter event can only be message, for blocks without an event line.")
        }
        if let text = parameters.first("pad"), !text.isEmpty {
            guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let padding = Int(text), padding <= Self.maximumPadding
            else {
                throw StreamRequest.Malformed(
                    code: "bad_parameter", detail: "The parameter pad must be a number from 0 to \(Self.maximumPadding).")
            }
            self.padding = padding
        }
    }

    /// Reads the member `event` or `pad` of a body.
    mutating func read(_ name: String, _ value: JSONText) throws(StreamRequest.Malformed) {
        switch (name, value.stringValue, value.intValue) {
        case ("event", "message", _): self.form = .unnamed
        case ("pad", _, let padding?) where (0...Int64(Self.maximumPadding)).contains(padding): self.padding = Int(padding)
        default:
            throw StreamRequest.Malformed(
                code: "bad_parameter",
                detail: "event can only be \"message\", and pad a number from 0 to \(Self.maximumPadding).")
        }
    }
}
