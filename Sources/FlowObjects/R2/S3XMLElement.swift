/// An element of an S3 response in XML, with its children. Attributes and namespace prefixes are dropped, because S3
/// does not use them.
struct S3XMLElement: Hashable, Sendable {
    var name: String
    /// Text of an element without children; otherwise empty.
    var text = ""
    var children: [S3XMLElement] = []

    /// The first child with this name.
    subscript(_ name: String) -> S3XMLElement? { self.children.first { $0.name == name } }

    /// All children with this name.
    func all(_ name: String) -> [S3XMLElement] { self.children.filter { $0.name == name } }

    /// The text of the first child with this name; `nil` if there is none.
    func text(_ name: String) -> String? { self[name]?.text }
}

/// Writes the XML of S3 requests.
enum XMLText {
    /// An element with this text, in which special characters are escaped.
    static func element(_ name: String, _ text: String) -> String { "<\(name)>\(Self.escape(text))</\(name)>" }

    /// An element with these children, which are XML already.
    static func element(_ name: String, containing children: [String]) -> String { "<\(name)>\(children.joined())</\(name)>" }

    /// The text with `&`, `<`, `>` and `"` replaced by entities.
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
