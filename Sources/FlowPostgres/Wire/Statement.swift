import CPostgres
import FlowCore

/// One SQL statement with its parameters.
struct Statement: Sendable {
    let sql: String
    let parameters: ParameterList

    init(_ sql: String, _ parameters: ParameterList = ParameterList()) {
        self.sql = sql
        self.parameters = parameters
    }

    /// Whether the statement is prepared if its connection allows it. Statements without parameters, such as BEGIN,
    /// have nothing to plan.
    var isWorthPreparing: Bool { self.parameters.count > 0 }
}

/// Statement parameters in the server's binary format, stored in one buffer. Text and JSON are sent unchanged, so
/// nothing has to be quoted.
struct ParameterList: Sendable {
    /// Type OIDs from Postgres's `pg_type.dat`. They never change.
    private enum TypeNumber {
        static let int8: UInt32 = 20
        static let int8Array: UInt32 = 1016
        static let text: UInt32 = 25
        static let textArray: UInt32 = 1009
        static let json: UInt32 = 114
        static let jsonArray: UInt32 = 199
        static let timestamptz: UInt32 = 1184
        static let timestamptzArray: UInt32 = 1185
    }

    private var bytes: [UInt8] = []
    private var types: [UInt32] = []
    /// Range of each parameter in `bytes`; `nil`: NULL.
    private var ranges: [Range<Int>?] = []

    /// Creates an empty list.
    /// - Parameter capacity: expected bytes of all parameters, reserved in advance.
    init(capacity: Int = 0) { if capacity > 0 { self.bytes.reserveCapacity(capacity) } }

    /// Number of parameters, which is also the number of the last placeholder.
    var count: Int { self.types.count }

    // MARK: Values

    /// Appends a parameter of type `text`.
    mutating func add(_ text: String) { self.add(TypeNumber.text) { $0.append(contentsOf: text.utf8) } }
    /// Appends a parameter of type `int8`.
    mutating func add(_ number: Int64) { self.add(TypeNumber.int8) { $0.append(bigEndian: UInt64(bitPattern: number)) } }
    /// Appends a parameter of type `int8`.
    mutating func add(_ number: Int) { self.add(Int64(number)) }
    /// Appends a parameter of type `timestamptz`.
    mutating func add(_ time: Timestamp) {
        self.add(TypeNumber.timestamptz) { $0.append(bigEndian: UInt64(bitPattern: time.postgresMicroseconds)) }
    }

    /// Appends a parameter of type `text`; `nil` is NULL.
    mutating func add(_ text: String?) {
        if let text { self.add(text) } else { self.addNull(TypeNumber.text) }
    }

    /// Appends a parameter of type `json`; `nil` is NULL.
    mutating func add(_ document: JSONText?) {
        guard let document else { return self.addNull(TypeNumber.json) }
        self.add(TypeNumber.json) { $0.append(contentsOf: document.bytes) }
    }

    /// Appends one parameter: an array of `text`.
    mutating func add(_ texts: some Collection<String>) {
        self.add(array: TypeNumber.textArray, of: TypeNumber.text, texts.count) { bytes in
            for text in texts {
                bytes.append(bigEndian: UInt32(truncatingIfNeeded: text.utf8.count))
                bytes.append(contentsOf: text.utf8)
            }
        }
    }

    /// Appends one parameter: an array of `int8`.
    mutating func add(_ numbers: some Collection<Int64>) {
        self.add(array: TypeNumber.int8Array, of: TypeNumber.int8, numbers.count) { bytes in
            for number in numbers {
                bytes.append(bigEndian: 8 as UInt32)
                bytes.append(bigEndian: UInt64(bitPattern: number))
            }
        }
    }

    /// Appends one parameter: an array of `timestamptz`.
    mutating func add(_ times: some Collection<Timestamp>) {
        self.add(array: TypeNumber.timestamptzArray, of: TypeNumber.timestamptz, times.count) { bytes in
            for time in times {
                bytes.append(bigEndian: 8 as UInt32)
                bytes.append(bigEndian: UInt64(bitPattern: time.postgresMicroseconds))
            }
        }
    }

    /// Appends one parameter: an array of `json`.
    mutating func add(_ documents: some Collection<JSONText>) {
        self.add(array: TypeNumber.jsonArray, of: TypeNumber.json, documents.count) { bytes in
            for document in documents {
                bytes.append(bigEndian: UInt32(truncatingIfNeeded: document.bytes.count))
                bytes.append(contentsOf: document.bytes)
            }
        }
    }

    /// Appends one parameter: an array of `json`, in which `nil` is NULL.
    mutating func add(_ documents: some Collection<JSONText?>) {
        let hasNull = documents.contains { $0 == nil }
        self.add(array: TypeNumber.jsonArray, of: TypeNumber.json, documents.count, hasNull: hasNull) { bytes in
            for document in documents {
                // The length -1 is NULL.
                bytes.append(bigEndian: document.map { UInt32(truncatingIfNeeded: $0.bytes.count) } ?? .max)
                if let document { bytes.append(contentsOf: document.bytes) }
            }
        }
    }

    /// Appends a parameter of the type with this OID. `write` appends its value.
    private mutating func add(_ type: UInt32, _ write: (inout [UInt8]) -> Void) {
        let start = self.bytes.count
        write(&self.bytes)
        self.types.append(type)
        self.ranges.append(start..<self.bytes.count)
    }

    /// Appends NULL as a parameter of the type with this OID.
    private mutating func addNull(_ type: UInt32) {
        self.types.append(type)
        self.ranges.append(nil)
    }

    /// Appends an array of `count` elements, which `write` appends. Its header is what `array_recv` expects: number of
    /// dimensions, whether there are NULLs, the element type, the length and the lower bound.
    private mutating func add(
        array type: UInt32, of element: UInt32, _ count: Int, hasNull: Bool = false, _ write: (inout [UInt8]) -> Void
    ) {
        self.add(type) { bytes in
            bytes.append(bigEndian: count == 0 ? 0 : 1 as UInt32)
            bytes.append(bigEndian: hasNull ? 1 : 0 as UInt32)
            bytes.append(bigEndian: element)
            guard count > 0 else { return }
            bytes.append(bigEndian: UInt32(truncatingIfNeeded: count))
            bytes.append(bigEndian: 1 as UInt32)
            write(&bytes)
        }
    }

    // MARK: libpq

    /// Calls the body with the arguments of `PQexecParams` and similar functions. The pointers are valid during the
    /// call only.
    func withPointers<Result>(
        _ body: (
            _ count: Int32, _ types: UnsafePointer<UInt32>?, _ values: UnsafePointer<UnsafePointer<CChar>?>?,
            _ lengths: UnsafePointer<Int32>?, _ formats: UnsafePointer<Int32>?
        ) -> Result
    ) -> Result {
        let lengths = self.ranges.map { Int32(truncatingIfNeeded: $0?.count ?? 0) }
        let formats = [Int32](repeating: 1, count: self.count)
        return self.bytes.withUnsafeBytes { bytes in
            // An empty value needs a non-null pointer: libpq sends a null pointer as NULL.
            let empty: StaticString = ""
            let values = self.ranges.map { range -> UnsafePointer<CChar>? in
                guard let range else { return nil }
                guard !range.isEmpty, let base = bytes.baseAddress else {
                    return UnsafeRawPointer(empty.utf8Start).assumingMemoryBound(to: CChar.self)
                }
                return base.advanced(by: range.lowerBound).assumingMemoryBound(to: CChar.self)
            }
            return body(Int32(self.count), self.types, values, lengths, formats)
        }
    }
}

extension Timestamp {
    /// 2000-01-01 UTC in milliseconds since 1970: the zero of the server's binary timestamps.
    private static let postgresEpoch: Int64 = 946_684_800_000

    /// Whole minutes since 1970, rounded down.
    var minutes: Int64 { (self.milliseconds - (self.milliseconds < 0 ? 59_999 : 0)) / 60_000 }

    /// The time as the server's binary format has it: microseconds since 2000-01-01 UTC.
    var postgresMicroseconds: Int64 { (self.milliseconds - Self.postgresEpoch) * 1_000 }

    /// Creates a time from the server's binary format, rounded down to milliseconds.
    init(postgresMicroseconds: Int64) {
        // Division rounds towards zero, so a negative number needs a correction to be rounded down.
        let milliseconds = (postgresMicroseconds >= 0 ? postgresMicroseconds : postgresMicroseconds - 999) / 1_000
        self.init(milliseconds: milliseconds + Self.postgresEpoch)
    }
}

extension [UInt8] {
    /// Appends the bytes of a number, the most significant first.
    fileprivate mutating func append(bigEndian value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { self.append(contentsOf: $0) }
    }
}
