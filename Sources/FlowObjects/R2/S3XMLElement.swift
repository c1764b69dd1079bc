/// An element of an S3 response in XML, with its children. Attributes and namespace prefixes are dropped, because S3
/// does not use them.
struct S3XMLElement: Hashable, Sendable {
    var name: String
    /// Text of an element without children; otherwise empty.
    var text = ""
    var children: [S3XMLElement] = []

    /// The first child with this name.
    subscript(_ name: String) -> S3XMLElement? { self.children.first { $0.name == name } }

    func all(_ name: String) -> [S3XMLElement] { self.children.filter { $0.name == name } }

    func text(_ name: String) -> String? { self[name]?.text }
}

/// Writes the XML of S3 requests.
enum XMLText {
    static func element(_ name: String, _ text: String) -> String { "<\(name)>\(Self.escape(text))</\(name)>" }

    static func element(_ name: String, containing children: [String]) -> String { "<\(name)>\(children.joined())</\(name)>" }

    private static func escape(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
