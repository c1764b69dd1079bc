import FlowCore
import HTTPTypes

/// The body of `POST /v1/events` and `QUERY /v1/events`: many flows, each with a cursor of its own.
extension StreamRequest {
    /// Parses a body: `{"flows":[{"flow_id","after"}…],"types"?,"snapshot"?,"presence"?,"event"?,"pad"?}`.
    /// - Parameters:
    ///   - maximumFlows: maximum number of flows of one stream.
    ///   - limits: limits of the JSON text.
    /// - Throws: ``Malformed`` if it is not such an object, or has an invalid flow id or event type, or too many of them.
    init(body: [UInt8], maximumFlows: Int, limits: JSONLimits) throws(Malformed) {
        let json: JSONText
        do throws(JSONError) {
            json = try JSONText(validating: JSONText.withoutByteOrderMark(body), limits: limits)
        } catch {
            let problem = HTTPProblem(error)
            throw Malformed(code: problem.code, detail: problem.detail)
        }
        guard json.isObject else { throw Self.badBody }
        self.flows = []
        var flows: JSONText?
        try json.forEachMember { (name, value) throws(Malformed) in
            switch String(decoding: name.prefix(320), as: UTF8.self) {
            case "flows": flows = value.text
            case "types": self.types = try Self.types(value.text)
            case "snapshot": self.wantsSnapshot = try Self.boolean(value.text, "snapshot")
            case "presence": self.wantsPresence = try Self.boolean(value.text, "presence")
            case let name where name == "event" || name == "pad": try self.encoding.read(name, value.text)
            case let name: throw Self.unknownMember(name, known: "flows, types, snapshot, presence, event and pad")
            }
        }
        guard let flows, flows.isArray else { throw Self.badBody }
        // Counted first: each element becomes a text of its own, which takes many times the memory of a short one.
        let count = flows.elementCount
        guard count > 0 else {
            throw Malformed(code: "flow_missing", detail: "At least one flow is required: \(Self.form)")
        }
        guard count <= maximumFlows else {
            throw Malformed(
                code: "too_many_flows",
                detail: "\(count) flows exceed the maximum of \(maximumFlows) (FLOWHUB_MAX_FLOWS_PER_POST). "
                    + "Use several streams.")
        }
        var cursors: [FlowID: Cursor] = [:]
        for element in flows.elements {
            let (flow, cursor) = try Self.flow(element)
            guard cursors.updateValue(cursor, forKey: flow) == nil else {
                throw Malformed(code: "bad_parameter", detail: "The flow \(flow) is in flows twice. Send it once.")
            }
        }
        self.flows = cursors.keys.sorted()
        self.position = .each(self.flows.map { cursors[$0] ?? .none })
    }

    private static let form = #"{"flows":[{"flow_id":"a","after":null}]}"#

    private static let badBody = Malformed(
        code: "bad_parameter", detail: "The body must be an object with an array of flows: \(form)")

    /// Parses an element of `flows`.
    private static func flow(_ element: JSONText) throws(Malformed) -> (FlowID, Cursor) {
        guard element.isObject else { throw Self.badBody }
        var flow: FlowID?
        var cursor = Cursor.none
        try element.forEachMember { (name, value) throws(Malformed) in
            switch String(decoding: name.prefix(320), as: UTF8.self) {
            case "flow_id":
                flow = value.text.stringValue.flatMap { FlowID($0) }
                if flow == nil { throw Self.badFlowID }
            case "after":
                let after = value.text
                if after.isNull {
                    cursor = .none
                } else if let text = after.stringValue {
                    cursor = Cursor(sent: text)
                } else {
                    throw Malformed(code: "bad_parameter", detail: "after must be a cursor in quotes, or null.")
                }
            case let name: throw Self.unknownMember(name, known: "flow_id and after")
            }
        }
        guard let flow else { throw Self.badFlowID }
        return (flow, cursor)
    }

    private static func types(_ value: JSONText) throws(Malformed) -> Set<EventType>? {
        if value.isNull { return nil }
        guard value.isArray else {
            throw Malformed(code: "bad_parameter", detail: "types must be an array of event types.")
        }
        guard value.elementCount <= Self.maximumFilter else { throw Self.tooManyTypes }
        // What is no string becomes a name that no event type has.
        let names = value.elements.map { $0.stringValue ?? "" }
        return names.isEmpty ? nil : try Self.readTypes(names)
    }

    private static func boolean(_ value: JSONText, _ name: String) throws(Malformed) -> Bool {
        guard let value = value.boolValue else {
            throw Malformed(code: "bad_parameter", detail: "\(name) must be true or false.")
        }
        return value
    }

    private static func unknownMember(_ name: String, known: String) -> Malformed {
        Malformed(
            status: .unprocessableContent, code: "unknown_member",
            detail: "Unknown JSON member \(name.prefix(80)). Known are \(known).")
    }
}
